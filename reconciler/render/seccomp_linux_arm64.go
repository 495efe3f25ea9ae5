package render

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_AARCH64
	// foreignNumbers is above all calls: this architecture has one ABI.
	foreignNumbers = 0xffffffff
)

func legacyForbidden() []uint32 { return nil }
