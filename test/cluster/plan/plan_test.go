package plan_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/lockstep-gitops/lockstep/test/cluster/plan"
)

func cluster(t *testing.T, mode plan.Mode) *plan.Cluster {
	t.Helper()
	c, err := plan.New(plan.Settings{
		Name: "test", Mode: mode, State: "/state/test", ProxyMode: "nftables",
		Ports: plan.Ports{API: 7443, Etcd: 7379, EtcdPeer: 7380},
	}, time.Now())
	assert.NilError(t, err)
	return c
}

// commands is every process with its arguments, one to a line.
func commands(c *plan.Cluster) string {
	var b strings.Builder
	for _, p := range c.Supervise().Processes {
		when := "at once"
		if p.AfterAPI {
			when = "after the API server"
		}
		fmt.Fprintf(&b, "%s, %s:\n  %s\n", p.Name, when, strings.Join(p.Args, "\n  "))
	}
	return b.String()
}

func TestProcessesOfANode(t *testing.T) {
	c := cluster(t, plan.Node)
	golden.Assert(t, commands(c), "node.golden")
	assert.Equal(t, c.Supervise().Node.Address, "10.99.0.1/24")
}

func TestProcessesOfAControlPlane(t *testing.T) {
	c := cluster(t, plan.ControlPlane)
	golden.Assert(t, commands(c), "control-plane.golden")
	assert.Assert(t, c.Supervise().Node == nil, "a control plane needs no namespaces")
	assert.Equal(t, c.Supervise().Ready.URL, "https://127.0.0.1:7443/readyz")
}

func TestConfigurationFilesOfANode(t *testing.T) {
	files := cluster(t, plan.Node).Files()
	for _, name := range []string{"Corefile", "kubelet.yaml", "kube-proxy.yaml", "containerd.toml", "cni/10-lockstep.conflist"} {
		golden.Assert(t, string(files[name]), name+".golden")
	}
	for _, name := range []string{"kubelet.yaml", "kube-proxy.yaml"} {
		var object map[string]any
		assert.NilError(t, yaml.UnmarshalStrict(files[name], &object), name)
	}
	assert.Check(t, json.Valid(files["cni/10-lockstep.conflist"]))
}

// TestEveryFileThatAProcessReadsIsWritten finds a typing error in a path
// before a process does.
func TestEveryFileThatAProcessReadsIsWritten(t *testing.T) {
	made := []string{"bin", "etcd", "volumes", "log"} // Folders that up makes.
	for _, mode := range []plan.Mode{plan.Node, plan.ControlPlane} {
		c := cluster(t, mode)
		for _, p := range c.Supervise().Processes {
			for _, arg := range p.Args {
				_, path, ok := strings.Cut(arg, "/state/test/")
				if !ok || slices.Contains(made, strings.Split(path, "/")[0]) {
					continue
				}
				_, written := c.Files()[path]
				assert.Check(t, written, "%s reads %s", p.Name, path)
			}
		}
	}
}

func TestKubeconfigWorksByItself(t *testing.T) {
	c := cluster(t, plan.Node)
	config, err := clientcmd.RESTConfigFromKubeConfig(c.Kubeconfig("127.0.0.1:7443"))
	assert.NilError(t, err)
	assert.Equal(t, config.Host, "https://127.0.0.1:7443")
	assert.Equal(t, config.CAFile, "")
	assert.Equal(t, config.CertFile, "")
	assert.Assert(t, len(config.CAData) > 0 && len(config.CertData) > 0 && len(config.KeyData) > 0)
	parsed, err := clientcmd.Load(c.Kubeconfig("127.0.0.1:7443"))
	assert.NilError(t, err)
	assert.Equal(t, parsed.CurrentContext, "lockstep-test")
}

func TestComponentsReachTheAPIServerInsideTheNode(t *testing.T) {
	config, err := clientcmd.RESTConfigFromKubeConfig(cluster(t, plan.Node).Files()["kubeconfig/kubelet"])
	assert.NilError(t, err)
	assert.Equal(t, config.Host, "https://10.99.0.1:6443")
}

func TestAuditIsOffUnlessAskedFor(t *testing.T) {
	assert.Check(t, !strings.Contains(commands(cluster(t, plan.ControlPlane)), "audit"))
	c, err := plan.New(plan.Settings{Name: "test", Mode: plan.ControlPlane, State: "/state/test", Audit: true}, time.Now())
	assert.NilError(t, err)
	assert.Check(t, strings.Contains(commands(c), "--audit-log-path=/state/test/log/audit.log"))
	var policy map[string]any
	assert.NilError(t, yaml.UnmarshalStrict(c.Files()["audit.yaml"], &policy))
	assert.Equal(t, policy["kind"], "Policy")
}

func TestFirstObjectsAreWhatTheirPathsSay(t *testing.T) {
	objects := plan.Objects(plan.Node)
	assert.Equal(t, len(objects), 3)
	for _, o := range objects {
		var head struct {
			APIVersion, Kind string
			Metadata         struct{ Name, Namespace string }
		}
		assert.NilError(t, json.Unmarshal(o.Body, &head), o.Path)
		assert.Check(t, strings.Contains(o.Path, "/"+head.APIVersion+"/"), o.Path)
		assert.Check(t, strings.HasSuffix(o.Path, "/"+head.Metadata.Name), o.Path)
		if head.Metadata.Namespace != "" {
			assert.Check(t, strings.Contains(o.Path, "/namespaces/"+head.Metadata.Namespace+"/"), o.Path)
		}
	}
	assert.Equal(t, len(plan.Objects(plan.ControlPlane)), 0)
}

func TestClustersOfOneNameInTwoFoldersShareNoCgroup(t *testing.T) {
	assert.Assert(t, plan.Cgroup("/a/lockstep") != plan.Cgroup("/b/lockstep"))
	assert.Assert(t, strings.HasPrefix(plan.Cgroup("/a/lockstep"), "/lockstep-lockstep-"))
}
