package cluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// maxRecord is how large a record may be when it is unpacked, in bytes. It
// bounds what a record that somebody made up can do to our memory.
const maxRecord = 256 << 20

// maxChunks is how many Secrets a record may have: enough for one of
// maxRecord that does not compress.
const maxChunks = maxRecord/recordChunk + 2

// recordMagic begins a record of the first format. The size of the content
// follows in eight bytes, then one zstd frame.
const recordMagic = "LSR1"

const recordHeader = len(recordMagic) + 8

// recordPointer finds a record: its name, the sha256 over all chunks, and their
// number. The status holds it, which no tenant can write.
type recordPointer struct {
	name  string
	sum   string
	count int
}

// String is what parsePointer reads.
func (p recordPointer) String() string { return p.name + "/" + p.sum + "/" + strconv.Itoa(p.count) }

func parsePointer(text string) (recordPointer, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return recordPointer{}, fmt.Errorf("%q does not point to a record", text)
	}
	count, err := strconv.Atoi(parts[2])
	if err != nil {
		return recordPointer{}, fmt.Errorf("%q does not point to a record: %q is no number", text, parts[2])
	}
	p := recordPointer{name: parts[0], sum: parts[1], count: count}
	return p, p.check()
}

func (p recordPointer) check() error {
	if problems := validation.IsDNS1123Label(p.name); len(problems) > 0 {
		return fmt.Errorf("record name %q: %s", p.name, strings.Join(problems, "; "))
	}
	if sum, err := hex.DecodeString(p.sum); err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("record %s: %q is no sha256", p.name, p.sum)
	}
	if p.count < 1 || p.count > maxChunks {
		return fmt.Errorf("record %s: %d Secrets, where 1 to %d are possible", p.name, p.count, maxChunks)
	}
	return nil
}

// secrets names the Secrets of a record. The UID of the Release is part of
// them: the Secrets of a Release that was deleted and made anew are still to
// be collected, and must not be taken for its own.
func (p recordPointer) secrets(owner *v1alpha1.Release) []string {
	sum := sha256.Sum256([]byte(string(owner.UID) + "/" + p.sum))
	names := make([]string, p.count)
	for i := range names {
		names[i] = fmt.Sprintf("lockstep-%s-%s-%s-%d", owner.Name, p.name, hex.EncodeToString(sum[:5]), i)
	}
	return names
}

// newPacker is what compresses records. It may be used by many at once, and is
// made once: it holds buffers of megabytes.
func newPacker() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithLowerEncoderMem(true))
}

// packRecord compresses a record. The same content gives the same bytes, as
// long as the compressor stays the same.
func packRecord(packer *zstd.Encoder, content []byte) ([]byte, error) {
	if len(content) > maxRecord {
		return nil, fmt.Errorf("%d bytes are more than the %d that a record may hold", len(content), maxRecord)
	}
	packed := append(make([]byte, 0, len(content)/4+recordHeader), recordMagic...)
	packed = binary.BigEndian.AppendUint64(packed, uint64(len(content)))
	return packer.EncodeAll(content, packed), nil
}

// unpackRecord is the reverse of packRecord. It allocates what the header
// says and no more, and at most maxRecord.
func unpackRecord(packed []byte) ([]byte, error) {
	if len(packed) < recordHeader || !bytes.HasPrefix(packed, []byte(recordMagic)) {
		return nil, errors.New("it does not begin like a record")
	}
	size := binary.BigEndian.Uint64(packed[len(recordMagic):recordHeader])
	if size > maxRecord {
		return nil, fmt.Errorf("it claims %d bytes, more than the %d that a record may hold", size, maxRecord)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRecord), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	content, err := decoder.DecodeAll(packed[recordHeader:], make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	if uint64(len(content)) != size {
		return nil, fmt.Errorf("it holds %d bytes and claims %d", len(content), size)
	}
	return content, nil
}
