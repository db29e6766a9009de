// SPDX-License-Identifier: Apache-2.0

// Command go_sumdb verifies a log on disk with the code that verifies Go's own checksum database
// (golang.org/x/mod/sumdb/{note,tlog}): checkpoint signature, every tile, every entry, proofs.
// With a third argument it also checks that this witness (vkey of the type 0x04) cosigned the checkpoint in
// cosigned/*.note. Usage: go_sumdb FOLDER VKEY [WITNESS]
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// files reads tiles by the names of C2SP tlog-tiles; the checksum database has the tile's height in its names.
type files struct{ folder string }

func (f files) Height() int                            { return 8 }
func (f files) SaveTiles(_ []tlog.Tile, _ [][]byte)    {}
func (f files) path(t tlog.Tile) string                { return strings.Replace(t.Path(), "tile/8/", "tile/", 1) }
func (f files) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		bytes, err := os.ReadFile(filepath.Join(f.folder, f.path(tile)))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

func main() {
	err := verify(os.Args[1], os.Args[2])
	if err == nil && len(os.Args) > 3 {
		err = cosigned(os.Args[1], os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Println("bad:", err)
		os.Exit(1)
	}
}

// witness verifies cosignature/v1 of c2sp.org/tlog-cosignature, which the note package does not know.
type witness struct {
	name string
	key  ed25519.PublicKey
}

func (w witness) Name() string { return w.name }
func (w witness) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(w.name+"\n\x04"), w.key...))
	return binary.BigEndian.Uint32(sum[:])
}
func (w witness) Verify(message, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(signature)
	signed := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", seconds)), message...)
	return ed25519.Verify(w.key, signed, signature[8:])
}

func cosigned(folder, vkey, text string) error {
	parts := strings.SplitN(text, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 33 || key[0] != 4 {
		return fmt.Errorf("%s is no witness", text)
	}
	log, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(folder, "cosigned", "*.note"))
	if err != nil || len(names) != 1 {
		return fmt.Errorf("%d cosigned checkpoints", len(names))
	}
	signed, err := os.ReadFile(names[0])
	if err != nil {
		return err
	}
	opened, err := note.Open(signed, note.VerifierList(log, witness{parts[0], key[1:]}))
	if err != nil {
		return err
	}
	if len(opened.Sigs) != 2 {
		return fmt.Errorf("%d signatures verify, expected those of log and witness", len(opened.Sigs))
	}
	plain, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil || !bytes.HasPrefix(plain, []byte(opened.Text)) {
		return fmt.Errorf("another checkpoint was cosigned")
	}
	return nil
}

func verify(folder, vkey string) error {
	signed, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	lines := strings.SplitN(opened.Text, "\n", 2)
	// The checksum database has a fixed first line where a checkpoint has the origin.
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + lines[1]))
	if err != nil {
		return err
	}
	entries, err := readEntries(folder, tree.N)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, files{folder})
	for index, entry := range entries {
		want := tlog.RecordHash(entry)
		hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(index))})
		if err != nil {
			return err
		}
		if hashes[0] != want {
			return fmt.Errorf("entry %d is not what the tiles say", index)
		}
		proof, err := tlog.ProveRecord(tree.N, int64(index), reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), want); err != nil {
			return err
		}
	}
	for size := int64(1); size <= tree.N; size += 1 + tree.N/20 {
		hash, err := tlog.TreeHash(size, reader)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(tree.N, size, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, size, hash); err != nil {
			return err
		}
	}
	fmt.Printf("good: %s, %d entries\n", lines[0], tree.N)
	return nil
}

func readEntries(folder string, size int64) (entries [][]byte, err error) {
	for index := int64(0); index*256 < size; index++ {
		width := int(min(256, size-index*256))
		tile := tlog.Tile{H: 8, L: 0, N: index, W: width}
		path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(folder, path))
		if err != nil {
			return nil, err
		}
		for len(data) >= 2 {
			length := int(binary.BigEndian.Uint16(data))
			if len(data) < 2+length {
				return nil, fmt.Errorf("%s ends in the middle of an entry", path)
			}
			entries = append(entries, data[2:2+length])
			data = data[2+length:]
		}
	}
	if int64(len(entries)) != size {
		return nil, fmt.Errorf("%d entries, expected %d", len(entries), size)
	}
	return entries, nil
}
