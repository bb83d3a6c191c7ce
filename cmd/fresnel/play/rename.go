package play

import (
	"encoding/hex"
)

// rename returns value with every UUID replaced by another that depends only on
// the UUID and the copy's number, so that references between records stay whole. Project
// and user ids, which services write without dashes, stay: the copies belong to
// the same tenants.
func rename(value []byte, nth int) []byte {
	out := make([]byte, len(value))
	n := 0
	for i := 0; i < len(value); {
		if i+36 <= len(value) && isUUID(value[i:i+36]) && (i == 0 || !isHex(value[i-1])) {
			other(out[n:], value[i:i+36], nth)
			n += 36
			i += 36
			continue
		}
		out[n] = value[i]
		n++
		i++
	}
	return out[:n]
}

func isUUID(b []byte) bool {
	if b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return false
	}
	for i, c := range b {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		if !isHex(c) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }

// other writes the UUID that stands for id in a copy: the copy's number is mixed
// into its first group, reversibly, so that no two ids become one.
func other(dst, id []byte, nth int) {
	copied := dst[:36]
	copy(copied, id)
	var g [4]byte
	if _, err := hex.Decode(g[:], id[:8]); err != nil {
		return // isUUID has looked: unreachable
	}
	x := uint32(g[0])<<24 | uint32(g[1])<<16 | uint32(g[2])<<8 | uint32(g[3])
	x ^= uint32(nth) * 0x9e3779b1
	g = [4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)}
	hex.Encode(copied[:8], g[:])
}
