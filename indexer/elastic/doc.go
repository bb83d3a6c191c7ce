// Package elastic keeps documents and records in Elasticsearch or OpenSearch, and
// searches them there. It is the store for production: several servers, several
// processes of ours at once.
//
// It folds nothing and decides nothing about what a caller may see: indexer and
// searchapi/policy do. Each resource type has an index, PREFIX-TYPE-GENERATION, with
// two aliases that bear the generation too: PREFIX-TYPE-GENERATION-read, and -write.
// A reindex makes the next generation and moves both in one step, so that a writer or
// searcher that has not heard of it finds no alias, looks again and goes on: nothing
// is ever written to, or read from, an index with another mapping than expected.
//
// Its invariants: every write is conditional (create, or if_seq_no with
// if_primary_term), and a version names the generation too; an answer of the server
// counts as success item by item only; a search that not all shards answered is
// partial and says so.
package elastic
