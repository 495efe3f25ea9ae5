package render

import (
	"github.com/lockstep-gitops/lockstep/reconciler"
	"github.com/lockstep-gitops/lockstep/reconciler/render/sops"
)

var _ reconciler.Renderer = (*Renderer)(nil)

// Decrypt is Decrypted with the keys of a Secret.
func (*Renderer) Decrypt(tree reconciler.Tree, secret reconciler.Secret) (reconciler.Tree, error) {
	keys, err := sops.NewKeys(secret)
	if err != nil {
		return nil, reconciler.Terminal(ReasonDecryption, err)
	}
	return Decrypted(tree, keys), nil
}

// Substitute puts variables into objects, as the function of that name does.
func (*Renderer) Substitute(objects []reconciler.Object, variables map[string]string) ([]reconciler.Object, error) {
	return Substitute(objects, variables)
}
