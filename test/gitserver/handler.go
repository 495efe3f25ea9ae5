package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"time"
)

// login is what a client has to present. It keeps digests only, which are of
// equal length and can be compared in equal time.
type login struct {
	required       bool
	user, password [sha256.Size]byte
}

func newLogin(user, password string) login {
	return login{
		required: user != "",
		user:     sha256.Sum256([]byte(user)),
		password: sha256.Sum256([]byte(password)),
	}
}

// admits says whether the request carries the login.
func (l login) admits(r *http.Request) bool {
	if !l.required {
		return true
	}
	name, secret, _ := r.BasicAuth()
	user, password := sha256.Sum256([]byte(name)), sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(user[:], l.user[:])&subtle.ConstantTimeCompare(password[:], l.password[:]) == 1
}

func newHandler(c config, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.Handle("/", logged(log, c.login.guard(backend(c, log))))
	return mux
}

// guard lets those through who present the login, for fetch and push alike.
func (l login) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.admits(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "user and password needed", http.StatusUnauthorized)
			return
		}
		// CGI would hand the header on to git in its environment.
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r)
	})
}

// backend runs `git http-backend` for each request.
func backend(c config, log *slog.Logger) http.Handler {
	git := &cgi.Handler{
		Path:   c.git,
		Args:   []string{"http-backend"},
		Dir:    c.root,
		Env:    append(environment(c.root), "GIT_PROJECT_ROOT="+c.root, "GIT_HTTP_EXPORT_ALL=1"),
		Logger: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		Stderr: c.stderr,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A push above 1 MiB comes in chunks, without a length. net/http/cgi
		// refuses such a body, but git reads to its end when no length is set,
		// and the server has taken the chunks apart already.
		r.TransferEncoding = nil
		git.ServeHTTP(w, r)
	})
}

// environment keeps git from settings of the machine, and from refusing a
// repository because its folder belongs to another user, as on a volume.
func environment(home string) []string {
	return []string{
		"HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}
}

// logged writes down each request: its path, and neither header nor query.
func logged(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(recorder, r)
		log.Info("request",
			slog.String("method", r.Method), slog.String("path", r.URL.Path),
			slog.Int("status", recorder.status), slog.Duration("took", time.Since(begin)))
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets net/http flush through the recorder.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }
