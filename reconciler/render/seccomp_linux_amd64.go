package render

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_X86_64
	// foreignNumbers is where the calls of the x32 ABI start.
	foreignNumbers = 0x40000000
)

// legacyForbidden are calls that newer architectures do not have.
func legacyForbidden() []uint32 {
	return []uint32{
		unix.SYS_OPEN, unix.SYS_CREAT, unix.SYS_MKDIR, unix.SYS_MKNOD, unix.SYS_RMDIR, unix.SYS_UNLINK,
		unix.SYS_LINK, unix.SYS_SYMLINK, unix.SYS_RENAME, unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_FORK, unix.SYS_VFORK,
	}
}
