package plan

import (
	"encoding/json"
	"fmt"
)

// Ports at which kube-proxy and the name server tell whether they are ready.
const (
	proxyHealth = 10256
	dnsReady    = 8181
)

// Object is one that the cluster starts with.
type Object struct {
	Path string // of the API server
	Body json.RawMessage
}

// Objects are the Service of the name server, which runs beside the kubelet
// and not in a pod, and the default storage class.
func Objects(mode Mode) []Object {
	if mode != Node {
		return nil
	}
	return []Object{
		{"/api/v1/namespaces/kube-system/services/kube-dns", json.RawMessage(`{
  "apiVersion": "v1", "kind": "Service",
  "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
  "spec": {"clusterIP": "` + dnsAddress + `", "ports": [
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]}}`)},
		{"/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns-node", json.RawMessage(`{
  "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
  "metadata": {"name": "kube-dns-node", "namespace": "kube-system", "labels": {
    "kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "lockstep.dev"}},
  "endpoints": [{"addresses": ["` + NodeAddress + `"], "conditions": {"ready": true}}],
  "ports": [
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]}`)},
		{"/apis/storage.k8s.io/v1/storageclasses/local", json.RawMessage(`{
  "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
  "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
  "provisioner": "` + provisioner + `", "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"}`)},
	}
}

// Condition is something to wait for once the API server is ready.
type Condition struct {
	What string // in the words of a progress line
	Path string // of the API server; an answer of 200 is needed
	// NodeReady asks for more: the answer is a Node with the condition Ready.
	NodeReady bool
}

// Conditions are what must hold before the cluster can be used.
func Conditions(mode Mode) []Condition {
	account := Condition{What: "service accounts", Path: "/api/v1/namespaces/default/serviceaccounts/default"}
	if mode != Node {
		return []Condition{account}
	}
	return []Condition{
		{What: "node", Path: "/api/v1/nodes/" + NodeName, NodeReady: true},
		{What: "services", Path: nodePath(proxyHealth, "healthz")},
		{What: "cluster DNS", Path: nodePath(dnsReady, "ready")},
		{What: "storage class", Path: "/apis/storage.k8s.io/v1/storageclasses/local"},
		account,
	}
}

// nodePath has the API server ask a port of the node over plain HTTP.
func nodePath(port int, path string) string {
	return fmt.Sprintf("/api/v1/nodes/http:%s:%d/proxy/%s", NodeName, port, path)
}
