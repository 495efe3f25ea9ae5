package plan

import "fmt"

// auditPolicy logs who did what to which object, and no body.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

func (c *Cluster) controlPlane() {
	c.etcd()
	c.apiserver()
	c.run(true, "kube-controller-manager",
		"--kubeconfig="+c.path("kubeconfig/kube-controller-manager"),
		"--service-account-private-key-file="+c.path("pki/tokens.key"),
		"--root-ca-file="+c.path("pki/ca.crt"),
		"--cluster-signing-cert-file="+c.path("pki/ca.crt"),
		"--cluster-signing-key-file="+c.path("pki/ca.key"),
		"--service-cluster-ip-range="+serviceCIDR,
		"--use-service-account-credentials",
		"--allocate-node-cidrs=false",
		"--leader-elect=false",
		"--secure-port=0",
		// The defaults of 20 and 30 would make tests with many objects wait.
		"--kube-api-qps=200", "--kube-api-burst=400",
	)
}

func (c *Cluster) etcdURL() string {
	if c.Settings.Mode == Node {
		return "http://127.0.0.1:2379"
	}
	return fmt.Sprintf("http://%s:%d", loopback, c.Settings.Ports.Etcd)
}

func (c *Cluster) etcd() {
	peer := "http://127.0.0.1:2380"
	if c.Settings.Mode == ControlPlane {
		peer = fmt.Sprintf("http://%s:%d", loopback, c.Settings.Ports.EtcdPeer)
	}
	c.run(false, "etcd",
		"--name=etcd",
		"--data-dir="+c.path("etcd"),
		"--listen-client-urls="+c.etcdURL(),
		"--advertise-client-urls="+c.etcdURL(),
		"--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer,
		"--initial-cluster=etcd="+peer,
		"--log-level=warn",
		// A test cluster need not survive a power cut.
		"--unsafe-no-fsync",
	)
}

func (c *Cluster) apiserver() {
	args := []string{
		"--etcd-servers=" + c.etcdURL(),
		"--tls-cert-file=" + c.path("pki/apiserver.crt"),
		"--tls-private-key-file=" + c.path("pki/apiserver.key"),
		"--client-ca-file=" + c.path("pki/ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc." + clusterDomain,
		"--service-account-signing-key-file=" + c.path("pki/tokens.key"),
		"--service-account-key-file=" + c.path("pki/tokens.pub"),
		"--service-cluster-ip-range=" + serviceCIDR,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged",
		"--profiling=false",
	}
	if c.Settings.Mode == Node {
		args = append(args,
			"--bind-address=0.0.0.0",
			"--secure-port=6443",
			"--advertise-address="+NodeAddress,
			"--kubelet-client-certificate="+c.path("pki/apiserver-to-kubelet.crt"),
			"--kubelet-client-key="+c.path("pki/apiserver-to-kubelet.key"),
			"--kubelet-certificate-authority="+c.path("pki/ca.crt"),
			"--kubelet-preferred-address-types=InternalIP",
		)
	} else {
		// Loopback is no address for the Service "kubernetes", which no pod asks for.
		args = append(args,
			"--bind-address="+loopback,
			fmt.Sprintf("--secure-port=%d", c.Settings.Ports.API),
			"--endpoint-reconciler-type=none",
		)
	}
	if c.Settings.Audit {
		c.files["audit.yaml"] = []byte(auditPolicy)
		args = append(args, "--audit-policy-file="+c.path("audit.yaml"), "--audit-log-path="+c.path("log/audit.log"))
	}
	c.run(false, "kube-apiserver", args...)
}
