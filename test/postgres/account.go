package postgres

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// account is who the server runs as. PostgreSQL refuses to run as root, and
// tests in a container usually do.
type account struct {
	// switched is false when the server runs as who runs the test.
	switched bool
	uid, gid uint32
}

func serverAccount() (account, error) {
	if os.Getuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(found.Uid, 10, 32)
		if err != nil {
			return account{}, err
		}
		gid, err := strconv.ParseUint(found.Gid, 10, 32)
		if err != nil {
			return account{}, err
		}
		return account{switched: true, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return account{}, errors.New("tests run as root, and there is neither a user postgres nor a user nobody to run the server as")
}

// folder makes a folder for temporary files. It is not one of testing.T, which
// lies below a folder that only the user who runs the test may enter.
func (a account) folder(prefix string) (string, error) {
	path, err := os.MkdirTemp("", prefix)
	if err != nil {
		return "", err
	}
	return path, a.own(path)
}

func (a account) own(path string) error {
	if !a.switched {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

func (a account) use(command *exec.Cmd) {
	if a.switched {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
	}
}
