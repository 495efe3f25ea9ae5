package plan

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/lockstep-gitops/lockstep/test/cluster/pki"
)

// masters is the group that may do everything.
const masters = "system:masters"

// certify makes the cluster's credentials and the kubeconfig of each component.
func (c *Cluster) certify(now time.Time) error {
	var err error
	if c.authority, err = pki.NewAuthority("lockstep-"+c.Settings.Name, now); err != nil {
		return err
	}
	c.files["pki/ca.crt"] = c.authority.Pair().Certificate
	c.files["pki/ca.key"] = c.authority.Pair().Key
	if c.files["pki/tokens.key"], c.files["pki/tokens.pub"], err = pki.SigningKey(); err != nil {
		return err
	}
	if err := c.servers(); err != nil {
		return err
	}
	return c.clients()
}

func (c *Cluster) servers() error {
	api, err := c.authority.Server("kube-apiserver",
		loopback, NodeAddress, apiService, "localhost", "kubernetes", "kubernetes.default",
		"kubernetes.default.svc", "kubernetes.default.svc."+clusterDomain)
	if err != nil {
		return err
	}
	kubelet, err := c.authority.Server(NodeName, NodeAddress, NodeName)
	if err != nil {
		return err
	}
	c.keep("apiserver", api)
	c.keep("kubelet", kubelet)
	return nil
}

func (c *Cluster) clients() error {
	users := []struct{ file, user, group string }{
		{"admin", "admin", masters},
		{"kube-controller-manager", "system:kube-controller-manager", ""},
		{"kube-scheduler", "system:kube-scheduler", ""},
		{"kube-proxy", "system:kube-proxy", ""},
		{"kubelet", "system:node:" + NodeName, "system:nodes"},
		{"coredns", "coredns", masters},
		{"local-provisioner", "local-provisioner", masters},
		{"apiserver-to-kubelet", "kube-apiserver-kubelet-client", masters},
	}
	for _, u := range users {
		var groups []string
		if u.group != "" {
			groups = append(groups, u.group)
		}
		pair, err := c.authority.Client(u.user, groups...)
		if err != nil {
			return err
		}
		switch u.file {
		case "admin":
			c.admin = pair
		case "apiserver-to-kubelet":
			c.keep(u.file, pair)
			continue
		}
		c.files["kubeconfig/"+u.file] = c.kubeconfig(c.APIAddress(), pair)
	}
	return nil
}

func (c *Cluster) keep(name string, pair pki.Pair) {
	c.files["pki/"+name+".crt"], c.files["pki/"+name+".key"] = pair.Certificate, pair.Key
}

// Kubeconfig is the administrator's, for the API server at the address. It
// refers to no other file, so that it can be copied.
func (c *Cluster) Kubeconfig(address string) []byte { return c.kubeconfig(address, c.admin) }

func (c *Cluster) kubeconfig(address string, user pki.Pair) []byte {
	encode := base64.StdEncoding.EncodeToString
	name := "lockstep-" + c.Settings.Name
	var b bytes.Buffer
	_, _ = fmt.Fprintf(&b, `apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster:
    server: https://%[2]s
    certificate-authority-data: %[3]s
users:
- name: %[1]s
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[1]s}
current-context: %[1]s
`, name, address, encode(c.authority.Pair().Certificate), encode(user.Certificate), encode(user.Key))
	return b.Bytes()
}
