package sqlite_test

func crashWriter() bool { return false }
