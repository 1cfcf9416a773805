package installer

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// statusFile is where the installer lists what it is made of.
const statusFile = "var/lib/dpkg/status"

// The header of an entry of a cpio archive of the form "newc" (initramfs buffer format of the kernel's documentation): a
// magic number, and thirteen numbers of eight hexadecimal digits.
const (
	headerSize = 110
	magic      = "070701"
	fieldSize  = 6
	fieldName  = 11
)

// installed reads what an installer is made of from its initial file system.
func installed(initrd string) ([]stanza, error) {
	packed, err := os.Open(initrd)
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	plain, err := gzip.NewReader(packed)
	if err != nil {
		return nil, err
	}
	archive, err := io.ReadAll(plain)
	if err != nil {
		return nil, err
	}
	text, err := entry(archive, statusFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", initrd, err)
	}
	return stanzas(string(text)), nil
}

// entry is the content of a file of an archive.
func entry(archive []byte, wanted string) ([]byte, error) {
	for len(archive) >= headerSize && bytes.HasPrefix(archive, []byte(magic)) {
		size, err := number(archive, fieldSize)
		if err != nil {
			return nil, err
		}
		length, err := number(archive, fieldName)
		if err != nil {
			return nil, err
		}
		begin := padded(headerSize + length)
		if length == 0 || begin+size > len(archive) {
			break
		}
		name := strings.TrimPrefix(string(archive[headerSize:headerSize+length-1]), "./")
		if name == wanted {
			return archive[begin : begin+size], nil
		}
		archive = archive[min(padded(begin+size), len(archive)):]
	}
	return nil, errors.New("it has no file " + wanted)
}

func number(header []byte, field int) (int, error) {
	begin := len(magic) + 8*field
	value, err := strconv.ParseUint(string(header[begin:begin+8]), 16, 31)
	return int(value), err
}

func padded(size int) int { return (size + 3) &^ 3 }
