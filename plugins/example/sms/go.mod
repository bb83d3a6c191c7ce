module example.org/fresnel-publisher-sms

go 1.26.0

require github.com/fresnel-search/fresnel v0.0.0

// A plugin of yours has no such line; this one is built against the tree it lies in.
replace github.com/fresnel-search/fresnel => ../../..
