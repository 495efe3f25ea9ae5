package database

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/lockstep-gitops/lockstep/reconciler"
)

// chunkPrefix begins the names of the files that an archive is cut into:
// archive.000, archive.001 and so on.
const chunkPrefix = "archive."

// pack makes an archive of files. It is a zip file, since the standard
// library reads one as a file system, without times, so that the same files
// make the same bytes.
func pack(files []file) ([]byte, error) {
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	for _, file := range files {
		entry, err := archive.CreateHeader(&zip.FileHeader{Name: file.name, Method: zip.Deflate})
		if err != nil {
			return nil, err
		}
		if _, err := entry.Write(file.content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

// unpack opens an archive in memory.
func unpack(archive []byte) (fs.FS, error) {
	opened, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, reconciler.Terminalf(reasonMigrations, "archive of the migrations: %w", err)
	}
	return opened, nil
}

// ArchiveFromDir puts an archive together again from a folder with its pieces
// archive.000, archive.001 and so on, as ConfigMaps are mounted. A missing
// piece is a terminal error that names it.
func ArchiveFromDir(fsys fs.FS) ([]byte, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("folder of the archive: %w", err)
	}
	pieces := 0
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), chunkPrefix) {
			pieces++
		}
	}
	if pieces == 0 {
		return nil, reconciler.Terminalf(reasonMigrations, "archive of the migrations: no file %s000", chunkPrefix)
	}
	var archive bytes.Buffer
	for i := range pieces {
		name := fmt.Sprintf("%s%03d", chunkPrefix, i)
		piece, err := fs.ReadFile(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, reconciler.Terminalf(reasonMigrations, "archive of the migrations: file %s is missing", name)
		}
		if err != nil {
			return nil, fmt.Errorf("archive of the migrations: %w", err)
		}
		archive.Write(piece)
	}
	return archive.Bytes(), nil
}

// maxKey bounds a key of a Secret; the API bounds all keys together to 1 MiB.
const maxKey = 1 << 20

// SecretFromDir reads the keys of a Secret from the folder that it is mounted
// at. The values are what the files hold, byte for byte: a password may end in
// anything.
func SecretFromDir(fsys fs.FS) (reconciler.Secret, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("folder of the credentials: %w", err)
	}
	secret := reconciler.Secret{}
	for _, entry := range entries {
		// A mounted Secret keeps its data behind links named ..data and so on.
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		value, err := readKey(fsys, entry.Name())
		if err != nil {
			return nil, fmt.Errorf("key %s of the credentials: %w", entry.Name(), err)
		}
		secret[entry.Name()] = value
	}
	return secret, nil
}

func readKey(fsys fs.FS, name string) ([]byte, error) {
	opened, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = opened.Close() }()
	return io.ReadAll(io.LimitReader(opened, maxKey))
}
