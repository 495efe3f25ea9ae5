package main

import (
	"archive/tar"
	"cmp"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// file is one entry of the image. Exactly one of Source, Content and Link is
// set for a file or a link; a folder has Dir.
type file struct {
	Path    string `json:"path"`              // absolute path in the image
	Source  string `json:"source,omitempty"`  // file on this machine
	Content string `json:"content,omitempty"` // the file's text itself
	Link    string `json:"link,omitempty"`    // target of a symbolic link
	Dir     bool   `json:"dir,omitempty"`
	Mode    int64  `json:"mode,omitempty"`
	UID     int    `json:"uid,omitempty"`
	GID     int    `json:"gid,omitempty"`
}

// archive streams the files as a tar, with the folders above them.
func archive(files []file) io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeTar(w, files)) }()
	return r
}

func writeTar(w io.Writer, files []file) error {
	t := tar.NewWriter(w)
	for _, f := range withParents(files) {
		if err := writeEntry(t, f); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return t.Close()
}

// withParents adds each folder that an entry lies in and no entry describes,
// and sorts the whole, so that a folder precedes what it holds.
func withParents(files []file) []file {
	known := map[string]bool{"/": true}
	for _, f := range files {
		known[f.Path] = true
	}
	all := slices.Clone(files)
	for _, f := range files {
		for dir := path.Dir(f.Path); !known[dir]; dir = path.Dir(dir) {
			known[dir] = true
			all = append(all, file{Path: dir, Dir: true, Mode: 0o755})
		}
	}
	slices.SortFunc(all, func(a, b file) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

func writeEntry(t *tar.Writer, f file) error {
	header := &tar.Header{
		Name:   strings.TrimPrefix(f.Path, "/"),
		Mode:   f.Mode,
		Uid:    f.UID,
		Gid:    f.GID,
		Format: tar.FormatPAX,
	}
	switch {
	case f.Dir:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
	case f.Link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, f.Link
	case f.Source != "":
		return writeSource(t, header, f.Source)
	default:
		header.Typeflag, header.Size = tar.TypeReg, int64(len(f.Content))
	}
	if err := t.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.WriteString(t, f.Content)
	return err
}

func writeSource(t *tar.Writer, header *tar.Header, source string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", source)
	}
	header.Typeflag, header.Size = tar.TypeReg, info.Size()
	if err := t.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(t, in)
	return err
}
