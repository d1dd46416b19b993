module ironwright.dev/pause

go 1.21
