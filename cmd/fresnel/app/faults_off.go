//go:build !faults

package app

import (
	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/publishers"
)

// faults leaves everything as it is. With build tag faults it lets tests kill the
// process at named points; no subsystem knows of it.
type faults struct{}

func newFaults() faults { return faults{} }

func (faults) listening(p stream.Producer) stream.Producer     { return p }
func (faults) indexing(p stream.Producer) stream.Producer      { return p }
func (faults) store(s indexer.Store) indexer.Store             { return s }
func (faults) records(r record.Store) record.Store             { return r }
func (faults) handling(n stream.NewHandler) stream.NewHandler  { return n }
func (faults) plugins(p publishers.Plugins) publishers.Plugins { return p }
