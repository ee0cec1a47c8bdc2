"""What an API server refuses, field by field, in the words that people search for.

    objects     `validate_new` and `validate_update`: raise the 422 with every cause, or return
    metadata    names, labels, annotations, owners, finalizers
    pods        pod specs, in pods and in templates
    placement   where a pod may run
    services    services, endpoints, slices
    workloads   what makes pods
    configs     the rest: maps, secrets, namespaces, leases, bindings, reviews
    updates     what may not change once it is there

Objects come decoded (`bodies`), with defaults: types are right, only values are asked about. No store here: whether a
name is taken or an address free is the registry's to say.
"""
