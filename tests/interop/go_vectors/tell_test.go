// SPDX-License-Identifier: Apache-2.0

// Tells the vectors that transparency-dev/merkle tests itself with: it is built into that package's own tests, beside
// verify_test.go, which has them. A line is "good|bad record|tree SIZE N ROOT OTHER PROOF... # WHAT", hashes in hex, "-"
// for one without bytes.
package proof

import (
	"encoding/hex"
	"fmt"
	"os"
	"testing"
)

func TestTell(t *testing.T) {
	file, err := os.Create(os.Getenv("VECTORS"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tell := func(verdict, kind string, size, number uint64, root, other []byte, proof [][]byte, what string) {
		fmt.Fprintf(file, "%s %s %d %d %s %s", verdict, kind, size, number, word(root), word(other))
		for _, hash := range proof {
			fmt.Fprintf(file, " %s", word(hash))
		}
		fmt.Fprintf(file, " # %s\n", what)
	}
	for _, vector := range inclusionProofs[1:] {
		index, size := vector.leaf-1, vector.size
		root, leaf := roots[size-1], hasher.HashLeaf(leaves[index])
		tell("good", "record", size, index, root, leaf, vector.proof, "as it is")
		for _, probe := range corruptInclusionProof(index, size, vector.proof, root, leaf) {
			tell("bad", "record", probe.treeSize, probe.leafIndex, probe.root, probe.leafHash, probe.proof, probe.desc)
		}
	}
	for _, vector := range consistencyProofs {
		root1, root2 := roots[vector.size1-1], roots[vector.size2-1]
		tell("good", "tree", vector.size2, vector.size1, root2, root1, vector.proof, "as it is")
		if len(vector.proof) == 0 {
			continue
		}
		for _, probe := range corruptConsistencyProof(vector.size1, vector.size2, root1, root2, vector.proof) {
			tell("bad", "tree", probe.size2, probe.size1, probe.root2, probe.root1, probe.proof, probe.desc)
		}
	}
}

func word(hash []byte) string {
	if len(hash) == 0 {
		return "-"
	}
	return hex.EncodeToString(hash)
}
