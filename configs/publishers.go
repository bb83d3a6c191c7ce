package configs

// Validate checks the engine's part, with what it has to know of the host's: how long
// an attempt may take.
func (p Publishers) Validate() error {
	if p.Host.AttemptTimeout > 0 {
		p.Timeout = p.Host.AttemptTimeout
	}
	return p.Config.Validate()
}
