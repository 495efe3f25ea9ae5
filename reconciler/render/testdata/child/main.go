// Command child renders for tests whose own binary is too slow for it.
package main

import (
	"os"

	"github.com/lockstep-gitops/lockstep/reconciler/render"
)

func main() { os.Exit(render.ChildMain(os.Stdin, os.Stdout)) }
