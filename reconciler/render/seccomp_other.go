//go:build linux && !amd64 && !arm64

package render

import "errors"

func forbidSystemCalls() error { return errors.ErrUnsupported }
