package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// planText shows a plan to a person: what changes, field by field, and a
// sentence at the end.
func planText(release *v1alpha1.Release, preview reconciler.Preview) string {
	var out strings.Builder
	fmt.Fprintf(&out, "Release %s/%s, %s\n\n", release.Namespace, release.Name, cmp.Or(preview.Revision, "the files in "+release.Spec.Source.Path))
	counts := map[reconciler.Action]int{}
	for _, change := range preview.Changes {
		counts[change.Action]++
		writeChange(&out, change)
	}
	migrations := 0
	for _, database := range preview.Databases {
		migrations += len(database.Pending)
		writeDatabase(&out, database)
	}
	if text := out.String(); !strings.HasSuffix(text, "\n\n") {
		out.WriteString("\n")
	}
	out.WriteString(summary(counts, migrations))
	return out.String()
}

func sign(action reconciler.Action) string {
	switch action {
	case reconciler.ActionCreate, reconciler.ActionApply, reconciler.ActionRun:
		return "+"
	case reconciler.ActionUpdate:
		return "~"
	case reconciler.ActionReplace:
		return "±"
	case reconciler.ActionDelete:
		return "-"
	case reconciler.ActionRefuse:
		return "!"
	case reconciler.ActionKeep:
		return "="
	case reconciler.ActionUnchanged:
	}
	return ""
}

// writeChange writes one change. What is unchanged is only counted.
func writeChange(out *strings.Builder, change reconciler.Change) {
	mark := sign(change.Action)
	if mark == "" {
		return
	}
	fmt.Fprintf(out, "%s %s", mark, change.Ref)
	if change.Origin != "" {
		fmt.Fprintf(out, "  (%s)", change.Origin)
	}
	out.WriteString("\n")
	if change.Reason != "" {
		fmt.Fprintf(out, "    %s: %s\n", change.Action, strings.ReplaceAll(change.Reason, "\n", "\n    "))
	}
	for _, field := range change.Fields {
		switch {
		case field.Before == "" && field.After == "":
			fmt.Fprintf(out, "    %s\n", field.Path)
		case field.Before == "":
			fmt.Fprintf(out, "    %s: %s\n", field.Path, field.After)
		default:
			fmt.Fprintf(out, "    %s: %s → %s\n", field.Path, field.Before, cmp.Or(field.After, "(removed)"))
		}
	}
	for _, warning := range change.Warnings {
		fmt.Fprintf(out, "    warning: %s\n", warning)
	}
}

func writeDatabase(out *strings.Builder, database reconciler.DatabasePreview) {
	switch {
	case database.Unknown != "":
		fmt.Fprintf(out, "? database %s could not be asked from here: %s\n", database.Name, database.Unknown)
	case len(database.Pending) > 0:
		var versions []string
		for _, version := range database.Pending {
			versions = append(versions, fmt.Sprint(version))
		}
		fmt.Fprintf(out, "> database %s: version %s, migrations %s\n", database.Name, cmp.Or(database.Version, "none"), strings.Join(versions, ", "))
	}
}

// summary is the last line of a plan.
func summary(counts map[reconciler.Action]int, migrations int) string {
	words := []struct {
		count int
		text  string
	}{
		{counts[reconciler.ActionCreate] + counts[reconciler.ActionApply] + counts[reconciler.ActionRun], "to create"},
		{counts[reconciler.ActionUpdate], "to change"},
		{counts[reconciler.ActionReplace], "to replace"},
		{counts[reconciler.ActionDelete], "to delete"},
		{counts[reconciler.ActionRefuse], "refused"},
		{counts[reconciler.ActionKeep], "kept"},
		{migrations, "to migrate"},
		{counts[reconciler.ActionUnchanged], "unchanged"},
	}
	var parts []string
	for _, word := range words {
		if word.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", word.count, word.text))
		}
	}
	if len(parts) == 0 {
		return "Nothing to do.\n"
	}
	return strings.Join(parts, ", ") + ".\n"
}
