// SPDX-License-Identifier: Apache-2.0

// Command go_sumdb verifies a log on disk with the code that verifies Go's own checksum database
// (golang.org/x/mod/sumdb/{note,tlog}): checkpoint signature, every tile, every entry, proofs.
// Usage: go_sumdb FOLDER VKEY
package main

import (
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
	if err := verify(os.Args[1], os.Args[2]); err != nil {
		fmt.Println("bad:", err)
		os.Exit(1)
	}
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
