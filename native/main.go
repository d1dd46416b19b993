// ironwright-native does what Node cannot, a verb each.
package main

import (
	"fmt"
	"os"
)

var verbs = map[string]struct {
	run  func(args []string) error
	says string
}{
	"sockets":   {sockets, "open sockets bound to one interface each and become a command that inherits them"},
	"advertise": {advertise, "answer router solicitations with \"no router here\", so that boot firmware does not wait"},
}

func main() {
	if len(os.Args) > 1 {
		if verb, known := verbs[os.Args[1]]; known {
			if err := verb.run(os.Args[2:]); err != nil {
				fmt.Fprintf(os.Stderr, "ironwright-native %s: %v\n", os.Args[1], err)
				os.Exit(1)
			}
			return
		}
	}
	fmt.Fprintln(os.Stderr, "ironwright-native VERB …")
	for name, verb := range verbs {
		fmt.Fprintf(os.Stderr, "  %-14s %s\n", name, verb.says)
	}
	os.Exit(2)
}
