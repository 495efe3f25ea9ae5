package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// inventoryRecord is the name of the record with the entries.
const inventoryRecord = "inventory"

// inventory is what a Release has applied, by object. What left the commit
// stays in it until it is gone (A16): to forget an object is to orphan it.
type inventory map[Ref]Entry

// key is how a Ref is found again whatever version it is read in.
func key(ref Ref) Ref {
	ref.Version = ""
	return ref
}

func (i inventory) put(entries ...Entry) {
	for _, entry := range entries {
		i[key(entry.Ref)] = entry
	}
}

func (i inventory) drop(refs ...Ref) {
	for _, ref := range refs {
		delete(i, key(ref))
	}
}

// entries in a steady order, so that the same inventory is the same record.
func (i inventory) entries() []Entry {
	out := make([]Entry, 0, len(i))
	for _, entry := range i {
		out = append(out, entry)
	}
	slices.SortFunc(out, func(a, b Entry) int { return compareRefs(a.Ref, b.Ref) })
	return out
}

// watchable are the entries of objects that stand in the cluster and may drift.
// Jobs do not: to put back one that somebody deleted is to run it again.
func (i inventory) watchable() []Entry {
	return slices.DeleteFunc(i.entries(), func(entry Entry) bool { return entry.UID == "" || groupKind(entry.Ref) == "Job.batch" })
}

// outside are the entries of objects that are not among the changes.
func (i inventory) outside(changes []Change) []Entry {
	rest := make(map[Ref]bool, len(i))
	for ref := range i {
		rest[ref] = true
	}
	for _, change := range changes {
		delete(rest, key(change.Ref))
	}
	return slices.DeleteFunc(i.entries(), func(entry Entry) bool { return !rest[key(entry.Ref)] })
}

// inventories keeps the inventories in memory, so that they are read once. The
// zero value is ready to be used.
type inventories struct {
	mu      sync.Mutex
	entries map[types.NamespacedName]loaded
}

type loaded struct {
	// record that it was read from or written to, and the one before, which a
	// written status may still name.
	record, older string
	// swept is true once records were removed that nothing names any more: of
	// a process that was killed before it wrote the status.
	swept bool
	held  inventory
}

func (i *inventories) get(release *v1alpha1.Release) (loaded, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	found, ok := i.entries[keyOf(release)]
	return found, ok && found.record == recordOf(release)
}

func (i *inventories) put(release *v1alpha1.Release, entry loaded) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.entries == nil {
		i.entries = map[types.NamespacedName]loaded{}
	}
	i.entries[keyOf(release)] = entry
}

func (i *inventories) forget(key types.NamespacedName) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.entries, key)
}

func recordOf(release *v1alpha1.Release) string {
	if release.Status.Inventory == nil {
		return ""
	}
	return release.Status.Inventory.Record
}

// inventoryOf returns what a Release has applied. It belongs to the pass: no
// other pass of the same Release runs.
func (r *Reconciler) inventoryOf(ctx context.Context, release *v1alpha1.Release, tenant Tenant) (inventory, error) {
	if known, ok := r.inventories.get(release); ok {
		return known.held, nil
	}
	held := inventory{}
	if record := recordOf(release); record != "" {
		content, err := tenant.LoadRecord(ctx, release, record)
		if errors.Is(err, ErrRecordMissing) {
			return nil, Terminalf("InventoryMissing", "%w; what was applied before is not known any more: delete status.inventory (`kubectl edit --subresource=status`) to go on, and look for objects with the label lockstep.dev/release=%s that left the branch", err, release.Name)
		}
		if err != nil {
			return nil, err
		}
		var entries []Entry
		if err := json.Unmarshal(content, &entries); err != nil {
			return nil, fmt.Errorf("record %s: %w", record, err)
		}
		held.put(entries...)
	}
	r.inventories.put(release, loaded{record: recordOf(release), swept: recordOf(release) == "", held: held})
	r.Cluster.Watch(release, held.watchable())
	return held, nil
}

// recordInventory writes the inventory beside the Release and notes its place
// in the status, which the caller has to write. The record that the written
// status names stays until then, so that a daemon that is killed anywhere
// finds a complete one.
func (r *Reconciler) recordInventory(ctx context.Context, release *v1alpha1.Release, tenant Tenant, held inventory, leaving int) error {
	content, err := json.Marshal(held.entries())
	if err != nil {
		return err
	}
	known, _ := r.inventories.get(release)
	before := recordOf(release)
	record, err := tenant.SaveRecord(ctx, release, inventoryRecord, content)
	if err != nil {
		return fmt.Errorf("save the inventory: %w", err)
	}
	if before != record {
		if err := dropRecords(ctx, release, tenant, known, before, record); err != nil {
			return fmt.Errorf("drop old records: %w", err)
		}
		known.older, known.swept = before, true
	}
	release.Status.Inventory = &v1alpha1.InventoryStatus{Objects: int32(len(held)), Leaving: int32(leaving), Record: record}
	known.record, known.held = record, held
	r.inventories.put(release, known)
	return nil
}

// dropRecords removes what neither the written status nor the next one names.
func dropRecords(ctx context.Context, release *v1alpha1.Release, tenant Tenant, known loaded, before, record string) error {
	switch {
	case before == "":
		return nil
	case !known.swept:
		return tenant.DropRecords(ctx, release, []string{before, record})
	case known.older != "" && known.older != record:
		return tenant.DropRecord(ctx, release, known.older)
	}
	return nil
}

// recordInventory is that of the Reconciler; the next phase that writes, or the
// end of the attempt, writes the status.
func (a *attempt) recordInventory(ctx context.Context, leaving int) error {
	a.aheadOfStatus()
	err := a.Reconciler.recordInventory(ctx, a.release, a.tenant, a.held, leaving)
	if err != nil {
		// What is in memory only would be taken for recorded by the next pass.
		a.inventories.forget(keyOf(a.release))
	}
	return err
}

// compareRefs orders Refs for people: by namespace, kind and name.
func compareRefs(a, b Ref) int {
	return slices.Compare(
		[]string{a.Namespace, a.Group, a.Kind, a.Name, a.Version},
		[]string{b.Namespace, b.Group, b.Kind, b.Name, b.Version},
	)
}
