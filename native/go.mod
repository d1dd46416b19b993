module ironwright.dev/native

go 1.21
