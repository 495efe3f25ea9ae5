package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// sshClient is a connection to an SSH server with git-upload-pack running on it.
type sshClient struct {
	conn    net.Conn
	client  *ssh.Client
	session *ssh.Session
	stdin   io.WriteCloser
	stdout  io.Reader
	stderr  *aside
	stop    func() bool
}

// dialSSH connects and starts git-upload-pack. go-git's own ssh transport is
// not used: its handshake knows no deadline, and it reads the configuration of
// the user who runs the process.
func dialSSH(ctx context.Context, o Options, addr address, c credentials, dir string, n *notes) (*sshClient, error) {
	config, err := sshConfig(addr, c, dir, o.Timeout)
	if err != nil {
		return nil, err
	}
	dialing, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	raw, err := o.Dial(dialing, "tcp", addr.hostPort())
	if err != nil {
		return nil, n.keep(err)
	}
	conn := &watchedConn{Conn: raw, silence: o.Timeout, notes: n}
	s := &sshClient{conn: conn, stderr: &aside{}}
	s.stop = context.AfterFunc(ctx, func() { _ = raw.Close() })
	if err := s.start(addr, config); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *sshClient) start(addr address, config *ssh.ClientConfig) error {
	link, channels, requests, err := ssh.NewClientConn(s.conn, addr.hostPort(), config)
	if err != nil {
		return err
	}
	s.client = ssh.NewClient(link, channels, requests)
	if s.session, err = s.client.NewSession(); err != nil {
		return err
	}
	if s.stdin, err = s.session.StdinPipe(); err != nil {
		return err
	}
	if s.stdout, err = s.session.StdoutPipe(); err != nil {
		return err
	}
	s.session.Stderr = s.stderr
	return s.session.Start("git-upload-pack " + shellQuote(addr.remotePath()))
}

// Close ends the connection at once. It does not wait for the server.
func (s *sshClient) Close() error {
	s.stop()
	if s.client != nil {
		return s.client.Close()
	}
	return s.conn.Close()
}

// sshConfig takes the host key algorithms from known_hosts: a server that has
// several keys must show the one that is known (G17).
func sshConfig(addr address, c credentials, dir string, timeout time.Duration) (*ssh.ClientConfig, error) {
	signer, err := readIdentity(c)
	if err != nil {
		return nil, err
	}
	db, err := readKnownHosts(c, dir)
	if err != nil {
		return nil, err
	}
	algorithms := slices.DeleteFunc(db.HostKeyAlgorithms(addr.hostPort()), func(name string) bool {
		return name == ssh.KeyAlgoRSA || name == ssh.CertAlgoRSAv01 || strings.Contains(name, "dss")
	})
	if len(algorithms) == 0 {
		return nil, reconciler.Transientf(ReasonHostKeyMismatch, "git server %s: the key %s of the Secret of spec.source.secretRef has no key of this host; add the lines of `ssh-keyscan %s` after you compared them with what the owner of the server says", addr.host, KeyKnownHosts, addr.host)
	}
	return &ssh.ClientConfig{
		User:              addr.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   explainHostKey(db.HostKeyCallback()),
		HostKeyAlgorithms: algorithms,
		Timeout:           timeout,
	}, nil
}

func readIdentity(c credentials) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(c.identity)
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
		if len(c.passphrase) == 0 {
			return nil, malformed("the key %s is encrypted: put its password under %s", KeyIdentity, KeyPassword)
		}
		if signer, err = ssh.ParsePrivateKeyWithPassphrase(c.identity, c.passphrase); err != nil {
			return nil, malformed("the key %s does not open with the password under %s", KeyIdentity, KeyPassword)
		}
		return signer, nil
	}
	if err != nil {
		return nil, malformed("the key %s holds no private SSH key in PEM", KeyIdentity)
	}
	return signer, nil
}

// readKnownHosts goes through a file because the library reads nothing else.
// The file is gone before this returns; what it holds is no secret.
func readKnownHosts(c credentials, dir string) (db *knownhosts.HostKeyDB, err error) {
	file, err := os.CreateTemp(dir, "known_hosts-")
	if err != nil {
		return nil, storeFailed(err)
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	_, err = file.Write(c.knownHosts)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, storeFailed(err)
	}
	if db, err = knownhosts.NewDB(file.Name()); err != nil {
		return nil, malformed("the key %s cannot be read: %s", KeyKnownHosts, quoteText(strings.ReplaceAll(err.Error(), file.Name(), "line"), nil))
	}
	return db, nil
}

// explainHostKey says which key the server showed and which ones are known.
func explainHostKey(check ssh.HostKeyCallback) ssh.HostKeyCallback {
	return func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := check(host, remote, key)
		unknown, ok := errors.AsType[*xknownhosts.KeyError](err)
		if !ok {
			return err
		}
		known := make([]string, 0, len(unknown.Want))
		for _, want := range unknown.Want {
			known = append(known, ssh.FingerprintSHA256(want.Key))
		}
		text := fmt.Sprintf("it showed the host key %s, known_hosts has %s", ssh.FingerprintSHA256(key), strings.Join(known, " "))
		return &cleanedError{text: text, err: err}
	}
}

// isRefusedKey tells whether the server refused our key. The library has no
// type for it.
func isRefusedKey(err error) bool {
	return strings.Contains(err.Error(), "ssh: unable to authenticate")
}

// shellQuote makes one word of a path for the shell at the other end, C shell included.
func shellQuote(path string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(path) + "'"
}

// watchedConn ends a connection that falls silent. It covers the handshake too.
type watchedConn struct {
	net.Conn
	silence time.Duration
	notes   *notes
}

// Read waits for the other side for at most the time of silence.
func (c *watchedConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, c.notes.keep(err)
	}
	n, err := c.Conn.Read(p)
	if err != nil && isTimeout(err) {
		err = c.notes.keep(fmt.Errorf("%w for %s", errSilent, c.silence))
	}
	return n, err
}

// Write waits for the other side for at most the time of silence.
func (c *watchedConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// aside keeps the beginning of what a server says on the side, within limits.
type aside struct {
	mu   sync.Mutex
	text []byte
}

// Write keeps the text and never fails.
func (t *aside) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[:min(len(p), maxErrorBody-len(t.text))]...)
	return len(p), nil
}

// String is what was kept.
func (t *aside) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
