def write(study, rescans): pass
