package gitrepotest

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Misbehaviour answers a request in git's place. It returns false to let git
// answer after all.
type Misbehaviour func(w http.ResponseWriter, r *http.Request, git http.Handler) bool

// On misbehaves only for requests whose path or query contains part.
func On(part string, how Misbehaviour) Misbehaviour {
	return func(w http.ResponseWriter, r *http.Request, git http.Handler) bool {
		return strings.Contains(r.URL.Path+"?"+r.URL.RawQuery, part) && how(w, r, git)
	}
}

// Hang accepts a request and says nothing until the client goes away.
func Hang() Misbehaviour {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return true
	}
}

// HangAfter sends the first n bytes of git's answer and then nothing more.
func HangAfter(n int) Misbehaviour {
	return func(w http.ResponseWriter, r *http.Request, git http.Handler) bool {
		send(w, r, git, n)
		<-r.Context().Done()
		return true
	}
}

// CutAfter sends the first n bytes of git's answer and drops the connection.
func CutAfter(n int) Misbehaviour {
	return func(w http.ResponseWriter, r *http.Request, git http.Handler) bool {
		send(w, r, git, n)
		panic(http.ErrAbortHandler)
	}
}

// EndAfter sends the first n bytes of git's answer as if they were all.
func EndAfter(n int) Misbehaviour {
	return func(w http.ResponseWriter, r *http.Request, git http.Handler) bool {
		send(w, r, git, n)
		return true
	}
}

func send(w http.ResponseWriter, r *http.Request, git http.Handler, n int) {
	answer := &recorder{header: w.Header(), status: http.StatusOK}
	git.ServeHTTP(answer, r)
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body.Bytes()[:min(n, answer.body.Len())])
	flush(w)
}

// Status answers with a status, a text and headers given as name, value, ….
func Status(status int, text string, headers ...string) Misbehaviour {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
		return true
	}
}

// Redirect sends the client to another server, with the path it asked for.
func Redirect(to string) Misbehaviour {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusFound)
		return true
	}
}

// Huge answers with a status and n bytes of text, without end when n is negative.
func Huge(status int, n int64) Misbehaviour {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if n >= 0 {
			w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		}
		w.WriteHeader(status)
		block := bytes.Repeat([]byte("boo\x1b[31m\n "), 8<<10)
		for n != 0 && r.Context().Err() == nil {
			part := block
			if n > 0 && n < int64(len(part)) {
				part = part[:n]
			}
			sent, err := w.Write(part)
			if err != nil {
				return true
			}
			if n > 0 {
				n -= int64(sent)
			}
		}
		return true
	}
}

// Body answers with a body that is given.
func Body(body []byte) Misbehaviour {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		_, _ = w.Write(body)
		return true
	}
}

func flush(w http.ResponseWriter) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
