// Package plan decides what a test cluster consists of: certificates,
// configuration files, processes and the objects that it starts with. It only
// computes; writing and starting is the caller's.
package plan

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"time"

	"github.com/lockstep-gitops/lockstep/test/cluster/pki"
	"github.com/lockstep-gitops/lockstep/test/cluster/supervise"
)

// Mode says how much of a cluster there is.
type Mode string

// The modes.
const (
	// Node is a whole cluster of one node, on which pods run. It needs root.
	Node Mode = "node"
	// ControlPlane is etcd, the API server and the controllers, on loopback.
	// Pods stay Pending. It needs no privilege.
	ControlPlane Mode = "control-plane"
)

// Addresses within a node's network namespace. They are the same in every
// cluster: the namespaces do not see one another.
const (
	NodeName      = "node1"
	NodeAddress   = "10.99.0.1"
	nodePrefix    = NodeAddress + "/24"
	podCIDR       = "10.88.0.0/24"
	serviceCIDR   = "10.96.0.0/16"
	dnsAddress    = "10.96.0.10"
	apiService    = "10.96.0.1"
	clusterDomain = "cluster.local"
	loopback      = "127.0.0.1"
)

// Images that the node itself needs, and the name of its volume provisioner.
const (
	PauseImage  = "lockstep.local/pause:1"
	provisioner = "lockstep.dev/local"
)

// Containerd is where the node's container runtime listens. Each node has a
// /run of its own.
const Containerd = "/run/containerd/containerd.sock"

// Settings describe one cluster.
type Settings struct {
	Name  string // in the kubeconfig
	Mode  Mode
	State string // absolute path of its folder
	// ProxyMode is how kube-proxy makes Services: "nftables" or "iptables".
	ProxyMode string
	// Audit has the API server log each request's metadata to log/audit.log.
	Audit bool
	// Ports on loopback, of a control plane only.
	Ports Ports
}

// Ports are those that a control plane listens on.
type Ports struct{ API, Etcd, EtcdPeer int }

// Cluster is the plan of one cluster.
type Cluster struct {
	Settings   Settings
	authority  *pki.Authority
	admin      pki.Pair
	files      map[string][]byte
	components []supervise.Component
}

// New plans the cluster and makes its certificates, valid from now.
func New(s Settings, now time.Time) (*Cluster, error) {
	c := &Cluster{Settings: s, files: map[string][]byte{}}
	if err := c.certify(now); err != nil {
		return nil, err
	}
	c.controlPlane()
	if s.Mode == Node {
		c.node()
	}
	return c, nil
}

// Files are the contents of each file that the processes read, by its path
// relative to the state folder. They hold private keys: none may be readable
// to others.
func (c *Cluster) Files() map[string][]byte { return c.files }

// APIAddress is where the API server listens, as the supervisor reaches it.
func (c *Cluster) APIAddress() string {
	if c.Settings.Mode == Node {
		return NodeAddress + ":6443"
	}
	return fmt.Sprintf("%s:%d", loopback, c.Settings.Ports.API)
}

// Probe asks the API server at the address whether it is ready.
func (c *Cluster) Probe(address string) supervise.Probe {
	return supervise.Probe{
		URL:         "https://" + address + "/readyz",
		Authority:   string(c.authority.Pair().Certificate),
		Certificate: string(c.admin.Certificate),
		Key:         string(c.admin.Key),
	}
}

// Supervise is the plan that the supervisor carries out.
func (c *Cluster) Supervise() supervise.Plan {
	p := supervise.Plan{State: c.Settings.State, Ready: c.Probe(c.APIAddress()), Processes: c.components}
	if c.Settings.Mode == Node {
		p.Node = &supervise.Node{Address: nodePrefix, Cgroup: Cgroup(c.Settings.State)}
	}
	return p
}

// Cgroup is the one that a node's pods live below. Its name comes from the
// state folder, so that clusters of one name in two folders do not share it.
func Cgroup(state string) string {
	sum := sha256.Sum256([]byte(state))
	return fmt.Sprintf("/lockstep-%s-%x", filepath.Base(state), sum[:4])
}

// Programs are the names that the components are started by: links to the
// multi-call binary in the state folder's bin.
func Programs() []string {
	return []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler",
		"kubelet", "kube-proxy", "coredns", "local-provisioner", "kubectl",
	}
}

func (c *Cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.Settings.State}, elements...)...)
}

// run adds one of the programs to the processes, with its arguments.
func (c *Cluster) run(afterAPI bool, program string, args ...string) {
	c.components = append(c.components, supervise.Component{
		Name:     program,
		Args:     append([]string{c.path("bin", program)}, args...),
		AfterAPI: afterAPI,
	})
}
