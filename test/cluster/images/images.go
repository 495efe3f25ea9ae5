// Package images describes the container images of the tests and the demo, and
// has them packed. No registry and no base image is involved: each holds the
// files of installed Debian packages that its program needs, and nothing else.
package images

import (
	"cmp"
	"slices"

	"github.com/lockstep-gitops/lockstep/test/cluster/debian"
)

// Users that the programs run as.
const (
	nobody  = 65534
	service = 999 // of databases, as in the images that are in wide use
)

// Description is one image. Its JSON is what the nested program image reads.
type Description struct {
	Ref        string   `json:"ref"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	Env        []string `json:"env,omitempty"`
	User       string   `json:"user,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	Files      []File   `json:"files"`
}

// File is one entry of an image. A file has a Source or a Content, a link a
// Link, a folder Dir.
type File struct {
	Path    string `json:"path"`
	Source  string `json:"source,omitempty"`
	Content string `json:"content,omitempty"`
	Link    string `json:"link,omitempty"`
	Dir     bool   `json:"dir,omitempty"`
	Mode    int64  `json:"mode,omitempty"`
	UID     int    `json:"uid,omitempty"`
	GID     int    `json:"gid,omitempty"`
}

// Binary is the image of one static program, which runs as user 65534.
func Binary(program, name, ref string) Description {
	path := "/" + name
	return Description{
		Ref:        ref,
		Entrypoint: []string{path},
		User:       "65534:65534",
		Env:        []string{"PATH=/", "HOME=/tmp"},
		Files: []File{
			{Path: path, Source: program, Mode: 0o755},
			{Path: "/tmp", Dir: true, Mode: 0o1777},
			{Path: "/etc/passwd", Content: "nobody:x:65534:65534::/tmp:/\n", Mode: 0o644},
			{Path: "/etc/group", Content: "nogroup:x:65534:\n", Mode: 0o644},
		},
	}
}

// Pause is the sandbox image.
func Pause(program, ref string) Description {
	return Description{
		Ref:        ref,
		Entrypoint: []string{"/pause"},
		User:       "65535:65535",
		Files:      []File{{Path: "/pause", Source: program, Mode: 0o755}},
	}
}

// shellNeeds bring a shell and the usual small programs.
func shellNeeds() []debian.Need {
	return []debian.Need{{Package: "bash", File: "bash"}, {Package: "coreutils", File: "env"}}
}

// system are the files that every image with a shell has.
func system(user, home string, id int) []File {
	passwd := "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/sh\n"
	group := "root:x:0:\nnogroup:x:65534:\n"
	if id != nobody {
		passwd += user + ":x:999:999::" + home + ":/bin/bash\n"
		group += user + ":x:999:\n"
	}
	files := []File{
		{Path: "/tmp", Dir: true, Mode: 0o1777},
		{Path: "/run", Dir: true, Mode: 0o755},
		{Path: "/var/run", Link: "../run"},
		{Path: "/etc/passwd", Content: passwd, Mode: 0o644},
		{Path: "/etc/group", Content: group, Mode: 0o644},
		{Path: "/etc/nsswitch.conf", Content: "passwd: files\ngroup: files\nhosts: files dns\n", Mode: 0o644},
	}
	for _, dir := range merged() {
		files = append(files, File{Path: "/" + dir, Link: "usr/" + dir})
	}
	return files
}

// finish puts the files in the order in which they are packed.
func finish(d Description, gathered *collector) (Description, error) {
	if gathered.err != nil {
		return Description{}, gathered.err
	}
	for _, f := range gathered.files {
		d.Files = append(d.Files, f)
	}
	slices.SortFunc(d.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	return d, nil
}
