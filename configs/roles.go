package configs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The roles that a process can have.
const (
	RoleListener   = "listener"   // reads notifications
	RoleIndexer    = "indexer"    // folds mutations into documents
	RolePublishers = "publishers" // delivers changes
	RoleSearchAPI  = "searchapi"  // answers searches
)

// AllRoles are the roles of a process that is told nothing.
func AllRoles() []string {
	return []string{RoleListener, RoleIndexer, RolePublishers, RoleSearchAPI}
}

// The stores that there are.
const (
	StoreSQLite        = "sqlite"        // a file in the data folder
	StoreElasticsearch = "elasticsearch" // a cluster of Elasticsearch or OpenSearch
)

// Has reports whether a process with this configuration has the role.
func (c Config) Has(role string) bool { return slices.Contains(c.Roles, role) }

// Shared reports whether the store is one that several processes can use.
func (c Config) Shared() bool { return c.Indexer.Store == StoreElasticsearch }

// Kept reports whether this process keeps anything in the data folder.
func (c Config) Kept() bool { return !c.Shared() || len(c.Listener.Kafka.Brokers) == 0 }

// validateRoles finds splits that cannot work: what is embedded is in one process.
func (c Config) validateRoles() error {
	if len(c.Roles) == 0 {
		return errors.New("roles: required; all are " + strings.Join(AllRoles(), ", "))
	}
	var errs []error
	for i, r := range c.Roles {
		key := fmt.Sprintf("roles[%d]", i)
		errs = append(errs, oneOf(key, r, AllRoles()...))
		if slices.Index(c.Roles, r) != i {
			errs = append(errs, fmt.Errorf("%s: %s is there twice", key, r))
		}
	}
	if len(c.Roles) == len(AllRoles()) || errors.Join(errs...) != nil {
		return errors.Join(errs...)
	}
	only := strings.Join(c.Roles, ", ")
	if len(c.Listener.Kafka.Brokers) == 0 {
		errs = append(errs, fmt.Errorf("roles: only %s, but the embedded Kafka is inside of one process with all roles: "+
			"set listener.kafka.brokers, or leave out roles", only))
	}
	if !c.Shared() {
		errs = append(errs, fmt.Errorf("roles: only %s, but the embedded store is inside of one process with all roles: "+
			"set indexer.store: elasticsearch, or leave out roles", only))
	}
	return errors.Join(errs...)
}

// validateStore checks the store that is used; the other one's keys are of no account.
func (i Indexer) validateStore() error {
	err := oneOf("store", i.Store, StoreSQLite, StoreElasticsearch)
	switch i.Store {
	case StoreElasticsearch:
		return under("elasticsearch", i.Elasticsearch.Validate())
	case StoreSQLite:
		return under("sqlite", i.SQLite.Validate())
	}
	return err
}
