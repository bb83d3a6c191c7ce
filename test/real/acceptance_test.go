//go:build real

package real

import (
	"testing"

	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

func TestEveryRecordingEndsInTheSameDocumentsInAnyOrder(t *testing.T) {
	acceptance.EveryRecording(t, harness.Real(t))
}

func TestTenantsSeeTheirOwnAndNothingElse(t *testing.T) {
	acceptance.Tenants(t, harness.Real(t))
}

func TestTheRecordedDayEndsInTheTruth(t *testing.T) {
	acceptance.Day(t, harness.Real(t))
}

func TestTheRecordedDayEndsInTheTruthOnOpenSearch(t *testing.T) {
	acceptance.Day(t, harness.RealOpenSearch(t))
}

func TestPoisonOfEveryKindBecomesADeadLetterAndStallsNothing(t *testing.T) {
	acceptance.Poison(t, harness.Real(t))
}

func TestNothingIsLostOrInventedAtAnyCrash(t *testing.T) {
	acceptance.Crashes(t, harness.Real(t), crashPlan())
}

func TestReceiverNeverFindsAnOlderStateThanItIsToldOf(t *testing.T) {
	acceptance.Consistency(t, harness.Real(t))
}
