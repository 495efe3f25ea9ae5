package cluster

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"gotest.tools/v3/assert"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/lockstep-gitops/lockstep/reconciler/api/v1alpha1"
)

// packedAs is a record whose header claims this size.
func packedAs(t *testing.T, size uint64, content []byte) []byte {
	t.Helper()
	encoder, err := zstd.NewWriter(nil)
	assert.NilError(t, err)
	packed := binary.BigEndian.AppendUint64([]byte(recordMagic), size)
	return encoder.EncodeAll(content, packed)
}

// TestRecordIsRefusedUnlessWhole shows that no made-up record takes more than
// its bounds or ends the daemon.
func TestRecordIsRefusedUnlessWhole(t *testing.T) {
	text := []byte(strings.Repeat("a", 1000))
	whole := packedAs(t, 1000, text)
	for name, test := range map[string]struct {
		packed []byte
		says   string
	}{
		"nothing":                          {nil, "does not begin like a record"},
		"a header alone, cut":              {whole[:7], "does not begin like a record"},
		"another format":                   {append([]byte("LSR2"), whole[4:]...), "does not begin like a record"},
		"a header and nothing":             {whole[:recordHeader], "holds 0 bytes and claims 1000"},
		"cut in the middle":                {whole[:len(whole)-6], "unpack: "},
		"more than it claims":              {packedAs(t, 10, text), "unpack: "},
		"less than it claims":              {packedAs(t, 2000, text), "holds 1000 bytes and claims 2000"},
		"a bomb that hides its size":       {packedAs(t, 1000, make([]byte, 64<<20)), "unpack: "},
		"a bomb that says so":              {packedAs(t, maxRecord+1, text), "more than the 268435456 that a record may hold"},
		"a size that overflows":            {packedAs(t, 1<<63, text), "more than the 268435456 that a record may hold"},
		"what is no zstd after the header": {append(bytes.Clone(whole[:recordHeader]), "hello, world"...), "unpack: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := unpackRecord(test.packed)
			assert.ErrorContains(t, err, test.says)
		})
	}
	got, err := unpackRecord(whole)
	assert.NilError(t, err)
	assert.DeepEqual(t, got, text)
}

// FuzzRecord feeds anything to the reader of records.
func FuzzRecord(f *testing.F) {
	packer, err := newPacker()
	assert.NilError(f, err)
	packed, err := packRecord(packer, []byte("some content, some content"))
	assert.NilError(f, err)
	f.Add(packed)
	f.Add(packed[:recordHeader+3])
	f.Fuzz(func(t *testing.T, packed []byte) {
		if len(packed) >= recordHeader {
			// A claim of many megabytes only makes the test slow.
			binary.BigEndian.PutUint64(packed[len(recordMagic):], binary.BigEndian.Uint64(packed[len(recordMagic):])%(1<<20))
		}
		content, err := unpackRecord(packed)
		assert.Check(t, err != nil || len(content) < 1<<20)
	})
}

// TestRecordPointer shows what finds a record and what does not.
func TestRecordPointer(t *testing.T) {
	sum := strings.Repeat("0f", 32)
	good := "inventory/" + sum + "/3"
	p, err := parsePointer(good)
	assert.NilError(t, err)
	assert.Equal(t, p, recordPointer{name: "inventory", sum: sum, count: 3})
	assert.Equal(t, p.String(), good)
	for text, says := range map[string]string{
		"":                          "does not point to a record",
		"inventory/" + sum:          "does not point to a record",
		good + "/4":                 "does not point to a record",
		"inventory/" + sum + "/x":   "is no number",
		"inventory/" + sum + "/0":   "0 Secrets, where 1 to",
		"inventory/" + sum + "/-1":  "-1 Secrets, where 1 to",
		"inventory/" + sum + "/999": "999 Secrets, where 1 to",
		"inventory/0f/1":            "is no sha256",
		"inventory/" + strings.Repeat("xy", 32) + "/1": "is no sha256",
		"../secrets/" + sum:                            "is no number",
		"In ventory/" + sum + "/1":                     "record name",
	} {
		_, err := parsePointer(text)
		assert.ErrorContains(t, err, says, text)
	}
}

// TestRecordNamesAreValid covers names of Releases and records at their limit.
func TestRecordNamesAreValid(t *testing.T) {
	p := recordPointer{name: strings.Repeat("n", 63), sum: strings.Repeat("0f", 32), count: maxChunks}
	assert.NilError(t, p.check())
	for _, name := range []string{"a", "web.shop", strings.Repeat("a", 63), strings.Repeat("a.", 31) + "a"} {
		owner := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "1"}}
		names := p.secrets(owner)
		assert.Equal(t, len(names), maxChunks)
		assert.DeepEqual(t, validation.IsDNS1123Subdomain(names[maxChunks-1]), []string(nil))
		assert.DeepEqual(t, validation.IsValidLabelValue(recordSecret(owner, names[0], nil).GetLabels()[recordLabel]), []string(nil))
	}
}
