# The verbs of everyday work; each is one of the scripts. Arguments are passed to it, as in: just test --test store

# Every test
test *arguments:
    tests/run {{ arguments }}

# Format, lints, documentation and the rules for dependencies
lint:
    tests/lint

# Jobs per second, end to end
bench *arguments:
    cargo bench --bench load -- {{ arguments }}

# Kills, signals, crash loops and the rest in their full sizes: about an hour on an idle machine
campaign *arguments:
    tests/campaign {{ arguments }}
