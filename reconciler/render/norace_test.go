//go:build !race

package render_test

// buildChild leaves it to the test binary to be its own child.
func buildChild() (command []string, remove func(), err error) {
	return nil, func() {}, nil
}
