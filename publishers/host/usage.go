package host

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// usage reads a process's resident memory and processor time; 0 where /proc does not
// tell.
func usage(pid int) (resident int64, cpu time.Duration) {
	if pid == 0 {
		return 0, 0
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0
	}
	// The second field is a name in parentheses, which may hold anything.
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const user, system, pages, tick = 11, 12, 21, 10 * time.Millisecond
	if len(fields) <= pages {
		return 0, 0
	}
	number := func(i int) int64 {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return number(pages) * int64(os.Getpagesize()), time.Duration(number(user)+number(system)) * tick
}
