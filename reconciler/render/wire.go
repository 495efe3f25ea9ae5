package render

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Kinds of frames between parent and child. A frame is a length of four
// bytes, a kind, and fields, each after its length.
const (
	// frameRequest starts a render. Parent to child: request as JSON.
	frameRequest byte = 'R'
	// frameLook asks for paths. Child to parent: names.
	frameLook byte = 'L'
	// frameEntry answers each of them in turn. Parent to child: kind, path,
	// content.
	frameEntry byte = 'E'
	// frameRecall asks for a piece of an earlier render. Child to parent: key.
	frameRecall byte = 'Q'
	// framePiece answers it. Parent to child: content, or nothing.
	framePiece byte = 'P'
	// frameKeep leaves a piece to later renders. Child to parent: key, content.
	frameKeep byte = 'K'
	// frameObject is one object. Child to parent: origin, JSON.
	frameObject byte = 'O'
	// frameFailure ends a render. Child to parent: reason, text.
	frameFailure byte = 'F'
	// frameDone ends a render. Child to parent: nothing.
	frameDone byte = 'D'
)

type frame struct {
	kind   byte
	fields [][]byte
}

var errFrame = errors.New("malformed frame")

// link is one end of the pipes between parent and child.
type link struct {
	in  *bufio.Reader
	out *bufio.Writer
	// limit is the largest frame accepted, in bytes.
	limit int64
	// reuse lets each frame be read into the memory of the one before, which
	// must not be used any more then.
	reuse   bool
	scratch []byte
}

func newLink(in io.Reader, out io.Writer, limit int64) *link {
	const buffer = 64 << 10
	return &link{in: bufio.NewReaderSize(in, buffer), out: bufio.NewWriterSize(out, buffer), limit: limit}
}

// send writes a frame. It may stay in the buffer until flush.
func (l *link) send(kind byte, fields ...[]byte) error {
	size := 1
	for _, field := range fields {
		size += len(binary.AppendUvarint(nil, uint64(len(field)))) + len(field)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(size))
	head = append(head, kind)
	if _, err := l.out.Write(head); err != nil {
		return err
	}
	for _, field := range fields {
		if _, err := l.out.Write(binary.AppendUvarint(nil, uint64(len(field)))); err != nil {
			return err
		}
		if _, err := l.out.Write(field); err != nil {
			return err
		}
	}
	return nil
}

func (l *link) flush() error { return l.out.Flush() }

// maxScratch is the largest memory kept for the next frame, in bytes.
const maxScratch = 1 << 20

// room gives memory for a frame.
func (l *link) room(size int64) []byte {
	if !l.reuse || size > maxScratch {
		return make([]byte, size)
	}
	if int64(cap(l.scratch)) < size {
		l.scratch = make([]byte, max(size, 4<<10))
	}
	return l.scratch[:size]
}

// receive reads a frame. io.EOF means that the other end closed in between.
func (l *link) receive() (frame, error) {
	var head [4]byte
	if _, err := io.ReadFull(l.in, head[:]); err != nil {
		return frame{}, err
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	if size < 1 || size > l.limit {
		return frame{}, fmt.Errorf("frame of %d bytes: %w", size, errFrame)
	}
	body := l.room(size)
	if _, err := io.ReadFull(l.in, body); err != nil {
		return frame{}, fmt.Errorf("read frame: %w", err)
	}
	fields, err := split(body[1:])
	return frame{kind: body[0], fields: fields}, err
}

func split(body []byte) ([][]byte, error) {
	var fields [][]byte
	for len(body) > 0 {
		size, used := binary.Uvarint(body)
		if used <= 0 || size > uint64(len(body)-used) {
			return nil, errFrame
		}
		body = body[used:]
		fields = append(fields, body[:size:size])
		body = body[size:]
	}
	return fields, nil
}
