"""What is decided: pure steps over blocks of events. Knows no Kafka, Faust, Redis, clock, file or global random generator."""
