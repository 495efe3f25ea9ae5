package plan

import (
	"fmt"

	"github.com/lockstep-gitops/lockstep/test/cluster/supervise"
)

// node adds what runs pods: container runtime, kubelet, Services, names and
// volumes.
func (c *Cluster) node() {
	c.containerd()
	c.run(true, "kube-scheduler",
		"--kubeconfig="+c.path("kubeconfig/kube-scheduler"),
		"--leader-elect=false",
	)
	c.kubelet()
	c.proxy()
	c.dns()
	c.run(true, "local-provisioner",
		"-kubeconfig="+c.path("kubeconfig/local-provisioner"),
		"-root="+c.path("volumes"),
		"-node="+NodeName,
	)
}

func (c *Cluster) containerd() {
	c.files["containerd.toml"] = fmt.Appendf(nil, `version = 2
root = %q
state = "/run/containerd"
oom_score = 0
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
`, c.path("containerd"), Containerd, PauseImage, c.path("cni"))
	c.files["cni/10-lockstep.conflist"] = fmt.Appendf(nil, `{"cniVersion": "0.4.0", "name": "lockstep", "plugins": [
 {"type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": %q}},
 {"type": "portmap", "capabilities": {"portMappings": true}}]}
`, podCIDR, "/run/cni")
	c.components = append(c.components, supervise.Component{
		Name: "containerd",
		Args: []string{"containerd", "--config", c.path("containerd.toml")},
	})
}

func (c *Cluster) kubelet() {
	c.files["kubelet.yaml"] = fmt.Appendf(nil, `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %[1]s
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[2]q}
authorization: {mode: Webhook}
tlsCertFile: %[3]q
tlsPrivateKeyFile: %[4]q
containerRuntimeEndpoint: unix://%[5]s
# Both versions of cgroup serve. The pods of each cluster have a root of their own.
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: %[6]s
clusterDomain: %[7]s
clusterDNS: [%[8]s]
resolvConf: ""
podLogsDir: %[9]q
# Images are loaded by hand: one that was removed would not come back.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%%, nodefs.inodesFree: 1%%, imagefs.available: 1%%}
nodeStatusUpdateFrequency: 2s
serializeImagePulls: false
eventRecordQPS: 0
kubeAPIQPS: 200
kubeAPIBurst: 400
`, NodeAddress, c.path("pki/ca.crt"), c.path("pki/kubelet.crt"), c.path("pki/kubelet.key"), Containerd,
		Cgroup(c.Settings.State), clusterDomain, dnsAddress, c.path("podlogs"))
	c.run(true, "kubelet",
		"--config="+c.path("kubelet.yaml"),
		"--kubeconfig="+c.path("kubeconfig/kubelet"),
		"--node-ip="+NodeAddress,
		"--hostname-override="+NodeName,
	)
}

func (c *Cluster) proxy() {
	c.files["kube-proxy.yaml"] = fmt.Appendf(nil, `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: %s
clientConnection: {kubeconfig: %q}
clusterCIDR: %s
hostnameOverride: %s
bindAddress: %s
healthzBindAddress: 0.0.0.0:%d
# The size of the connection table is the whole machine's.
conntrack: {maxPerCore: 0}
`, c.Settings.ProxyMode, c.path("kubeconfig/kube-proxy"), podCIDR, NodeName, NodeAddress, proxyHealth)
	c.run(true, "kube-proxy", "--config="+c.path("kube-proxy.yaml"))
}

// dns answers for the cluster's names. Nothing outside can be reached from a
// pod, so every other name does not exist.
func (c *Cluster) dns() {
	c.files["Corefile"] = fmt.Appendf(nil, `%[1]s in-addr.arpa ip6.arpa {
    errors
    ready :%[2]d
    kubernetes {
        kubeconfig %[3]s
        pods insecure
        ttl 5
    }
    cache 5
}
. {
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
}
`, clusterDomain, dnsReady, c.path("kubeconfig/coredns"))
	c.run(true, "coredns", "-conf="+c.path("Corefile"))
}
