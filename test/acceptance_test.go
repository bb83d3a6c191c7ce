package test

import (
	"testing"

	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

func TestEveryRecordingEndsInTheSameDocumentsInAnyOrder(t *testing.T) {
	t.Parallel()
	acceptance.EveryRecording(t, harness.Embedded())
}

func TestTenantsSeeTheirOwnAndNothingElse(t *testing.T) {
	t.Parallel()
	acceptance.Tenants(t, harness.Embedded())
}

func TestTheRecordedDayEndsInTheTruth(t *testing.T) {
	t.Parallel()
	acceptance.Day(t, harness.Embedded())
}

func TestPoisonOfEveryKindBecomesADeadLetterAndStallsNothing(t *testing.T) {
	t.Parallel()
	acceptance.Poison(t, harness.Embedded())
}

func TestNothingIsLostOrInventedAtAnyCrash(t *testing.T) {
	t.Parallel()
	acceptance.Crashes(t, harness.Embedded(), acceptance.AllCrashes())
}

func TestReceiverNeverFindsAnOlderStateThanItIsToldOf(t *testing.T) {
	t.Parallel()
	acceptance.Consistency(t, harness.Embedded())
}
