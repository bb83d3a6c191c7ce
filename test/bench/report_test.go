package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row is one figure of the table.
type row struct{ figure, measured, reference, ratio, goal string }

// report collects the figures of a run.
type report struct {
	command string // that prints it
	rows    []row
	began   time.Time
	load    string
	notes   []string
}

// note adds a line below the table.
func (r *report) note(line string) { r.notes = append(r.notes, line) }

func newReport(command string) *report {
	return &report{command: command, began: time.Now(), load: loadAverage()}
}

// rate adds a throughput, where more is better.
func (r *report) rate(figure string, measured, reference float64, against, goal string) {
	r.rows = append(r.rows, row{
		figure, fmt.Sprintf("%.0f/s", measured), fmt.Sprintf("%.0f/s %s", reference, against),
		fmt.Sprintf("%.2f", measured/reference), goal,
	})
}

// latency adds the median and the 99th percentile of waits.
func (r *report) latency(figure string, measured, reference []time.Duration, against, goal string) {
	r.rows = append(r.rows, row{
		figure, centiles(measured), centiles(reference) + " " + against,
		fmt.Sprintf("%.1f / %.1f", share(measured, reference, 50), share(measured, reference, 99)), goal,
	})
}

func share(a, b []time.Duration, p int) float64 {
	return float64(centile(a, p)) / float64(centile(b, p))
}

// took adds a duration, where less is better.
func (r *report) took(figure string, measured, reference time.Duration, against, goal string) {
	r.rows = append(r.rows, row{
		figure, millis(measured), millis(reference) + " " + against,
		fmt.Sprintf("%.1f", float64(measured)/float64(reference)), goal,
	})
}

// size adds an amount of memory.
func (r *report) size(figure string, measured, reference int64, against, goal string) {
	r.rows = append(r.rows, row{
		figure, mib(measured), mib(reference) + " " + against,
		fmt.Sprintf("%.1f", float64(measured)/float64(reference)), goal,
	})
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

func millis(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/1e6) }

func centile(ds []time.Duration, p int) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(len(ds)-1, len(ds)*p/100)]
}

func centiles(ds []time.Duration) string {
	return fmt.Sprintf("%.1f / %.1f ms", float64(centile(ds, 50))/1e6, float64(centile(ds, 99))/1e6)
}

// print writes the table as Markdown.
func (r *report) print(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "\n`%s` on %s, %d cores, %s, %s; load %s before, %s after, in %s:\n\n", r.command, processor(), runtime.NumCPU(),
		runtime.Version(), r.began.UTC().Format(time.DateOnly), r.load, loadAverage(), time.Since(r.began).Round(time.Second))
	fmt.Fprintln(out, "| figure | measured | reference, same run | ratio | goal |")
	fmt.Fprintln(out, "|---|---|---|---|---|")
	for _, x := range r.rows {
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", x.figure, x.measured, x.reference, x.ratio, x.goal)
	}
	fmt.Fprintln(out)
	for _, n := range r.notes {
		fmt.Fprintf(out, "* %s\n", n)
	}
	return out.Flush()
}

// processor is the processor's name.
func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if name, found := strings.CutPrefix(line, "model name"); found {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}

// loadAverage is that of the last minute.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	one, _, _ := strings.Cut(string(b), " ")
	return one
}

// status reads a number of kilobytes from /proc, as bytes; 0 if there is none.
func status(pid int, key string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, found := strings.CutPrefix(line, key+":"); found {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

// cpu is the processor time that a process has taken.
func cpu(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var ticks int64
	for _, i := range []int{11, 12} { // user, system
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // of USER_HZ, 100 everywhere
}

// rss is a process's resident memory.
func rss(pid int) int64 { return status(pid, "VmRSS") }

// child is the pid of a process's child; 0 if it has none.
func child(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err == nil && len(b) > 0 {
		if n, err := strconv.Atoi(strings.Fields(string(b))[0]); err == nil {
			return n
		}
	}
	return childByParent(pid)
}

// childByParent asks every process who started it: children are listed by thread.
func childByParent(pid int) int {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, e := range all {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n))
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) > 1 && f[1] == strconv.Itoa(pid) {
			return n
		}
	}
	return 0
}
