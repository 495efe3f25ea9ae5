package gitrepo

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// address is a repository's place.
type address struct {
	scheme string
	// host with its port, when the URL names one.
	host string
	path string
	// user is the account on an ssh server.
	user string
}

// parseAddress takes apart the URL of a repository. It never repeats what
// stands before an @: that may be a password.
func parseAddress(raw string) (address, error) {
	u, err := url.Parse(raw)
	if err != nil {
		err = fmt.Errorf("%w; write https://host/path or ssh://git@host/path", withoutURL(err))
	} else {
		err = cmp.Or(checkLogin(u), checkPlace(u))
	}
	if err != nil {
		return address{}, reconciler.Terminalf(ReasonURLInvalid, "spec.source.url: %w", err)
	}
	user := u.User.Username()
	if u.Scheme == "ssh" && user == "" {
		user = "git"
	}
	return address{scheme: u.Scheme, host: strings.ToLower(u.Host), path: strings.TrimRight(u.EscapedPath(), "/"), user: user}, nil
}

// checkLogin refuses what no URL may hold: it is stored, shown and logged.
func checkLogin(u *url.URL) error {
	_, password := u.User.Password()
	user := u.User.Username()
	switch {
	case u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh":
		return errors.New("only https and ssh are spoken; write https://host/path or ssh://git@host/path")
	case u.Scheme != "ssh" && u.User != nil:
		return errors.New("holds a user or a password; put them in a Secret under username and password and name it in spec.source.secretRef")
	case password:
		return errors.New("holds a password; put an SSH key in a Secret under identity and name it in spec.source.secretRef")
	case strings.HasPrefix(user, "-") || strings.ContainsFunc(user, isControl):
		return errors.New("the user is not one")
	}
	return nil
}

func checkPlace(u *url.URL) error {
	switch {
	case u.Hostname() == "" || strings.HasPrefix(u.Host, "-"):
		return errors.New("names no host")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return errors.New("holds a ? or a #; write the path of the repository alone")
	case strings.Trim(u.Path, "/") == "" || strings.ContainsFunc(u.Path, isControl):
		return fmt.Errorf("names no repository; write %s://%s/path", u.Scheme, u.Host)
	}
	return nil
}

// withoutURL is the cause of a parse error, which itself repeats the URL. Some
// causes repeat a part of it, and that part may be a password too.
func withoutURL(err error) error {
	var escape url.EscapeError
	var host url.InvalidHostError
	switch {
	case errors.As(err, &escape), errors.As(err, &host):
		return errors.New("holds a character that must be escaped")
	default:
		return errors.New("is not a URL")
	}
}

func (a address) String() string {
	if a.scheme == "ssh" {
		return "ssh://" + url.User(a.user).String() + "@" + a.host + a.path
	}
	return a.scheme + "://" + a.host + a.path
}

// hostPort is the host with a port.
func (a address) hostPort() string {
	if u := (url.URL{Host: a.host}); u.Port() == "" {
		port := map[string]string{"https": "443", "http": "80", "ssh": "22"}[a.scheme]
		return net.JoinHostPort(u.Hostname(), port)
	}
	return a.host
}

// remotePath is the path as an ssh server wants it: /~user/path means a path
// below the home of user.
func (a address) remotePath() string {
	path, err := url.PathUnescape(a.path)
	if err != nil {
		path = a.path
	}
	if strings.HasPrefix(path, "/~") {
		return path[1:]
	}
	return path
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
