"""Everything the API server knows about kinds: what there is, what is allowed, how it is written and shown.

    names, status                   names, uids and versions; refusals as Status objects
    resources, discovery            the one table of resources, and the documents that list them
    fields, openapi, protobuf       the published schemas: unknown fields, documents, bodies of typed commands
    bodies, negotiation             requests' objects in, answers' forms out
    defaults, validation            what is filled in, what is refused, what may not change
    strategies                      system fields, status and spec by their own paths
    selectors, tables               which objects a list holds, the rows that people see
    strategic, patches, managed     the four kinds of patch

Pure: `now_s` and random sources are arguments; the published tables in `data/` are read once, when first needed.
A refusal is always an `ApiError`. No requests, no store: that is the server's.
"""
