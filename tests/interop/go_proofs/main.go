// SPDX-License-Identifier: Apache-2.0

// Command go_proofs is an oracle for Merkle trees: golang.org/x/mod/sumdb/tlog, which verifies Go's checksum database.
// The tree has the entries "0", "1", ... in decimal.
//
//	go_proofs digests N   for each size up to N: the size, and SHA-256 over its root, all its inclusion proofs and all
//	                      consistency proofs to it, each hash as it is
//	go_proofs judge       for each line "record|tree SIZE N ROOT HASH PROOF..." (hex) of stdin: good or bad
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// stored holds the hashes of a tree in the order of tlog.StoredHashIndex.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for at, index := range indexes {
		found[at] = s[index]
	}
	return found, nil
}

func main() {
	if os.Args[1] == "judge" {
		judge()
		return
	}
	count, err := strconv.ParseInt(os.Args[2], 10, 64)
	check(err)
	var hashes stored
	for size := int64(1); size <= count; size++ {
		more, err := tlog.StoredHashes(size-1, []byte(strconv.FormatInt(size-1, 10)), hashes)
		check(err)
		hashes = append(hashes, more...)
		fmt.Println(size, digest(size, hashes))
	}
}

func digest(size int64, hashes stored) string {
	all := sha256.New()
	root, err := tlog.TreeHash(size, hashes)
	check(err)
	all.Write(root[:])
	for index := int64(0); index < size; index++ {
		proof, err := tlog.ProveRecord(size, index, hashes)
		check(err)
		for _, hash := range proof {
			all.Write(hash[:])
		}
	}
	for old := int64(1); old <= size; old++ {
		proof, err := tlog.ProveTree(size, old, hashes)
		check(err)
		for _, hash := range proof {
			all.Write(hash[:])
		}
	}
	return hex.EncodeToString(all.Sum(nil))
}

func judge() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		size, err := strconv.ParseInt(words[1], 10, 64)
		check(err)
		number, err := strconv.ParseInt(words[2], 10, 64)
		check(err)
		hashes := make([]tlog.Hash, 0, len(words))
		for _, word := range words[3:] {
			data, err := hex.DecodeString(word)
			check(err)
			hashes = append(hashes, tlog.Hash(data))
		}
		if words[0] == "record" {
			err = tlog.CheckRecord(tlog.RecordProof(hashes[2:]), size, hashes[0], number, hashes[1])
		} else {
			err = tlog.CheckTree(tlog.TreeProof(hashes[2:]), size, hashes[0], number, hashes[1])
		}
		if err != nil {
			fmt.Println("bad")
		} else {
			fmt.Println("good")
		}
	}
	check(lines.Err())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
