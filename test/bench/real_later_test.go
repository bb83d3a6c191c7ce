//go:build real

package bench

func realSearchable(l *lab, r *report) {}
func backlogs(l *lab, r *report)       {}
func searches(l *lab, r *report)       {}
