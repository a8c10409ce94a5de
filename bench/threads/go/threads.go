// threads.go - the thread benchmarks on goroutines; see bench/threads/suite.h.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

const (
	yields    = 2000000
	spawns    = 500000
	locks     = 10000000
	handovers = 500000
	trees     = 16
	depth     = 14
)

// As in suite.h, the second of two runs.
func report(name string, operations int, run func()) {
	run()
	start := time.Now()
	run()
	fmt.Printf("%s %.2f\n", name, float64(time.Since(start).Nanoseconds())/float64(operations))
}

func tree(depth int) {
	if depth == 0 {
		return
	}
	var left sync.WaitGroup
	left.Add(1)
	go func() {
		tree(depth - 1)
		left.Done()
	}()
	tree(depth - 1)
	left.Wait()
}

func yieldPair() {
	loop := func() {
		for i := 0; i < yields/2; i++ {
			runtime.Gosched()
		}
	}
	var other sync.WaitGroup
	other.Add(1)
	go func() { loop(); other.Done() }()
	loop()
	other.Wait()
}

func spawnJoin() {
	for i := 0; i < spawns; i++ {
		var thread sync.WaitGroup
		thread.Add(1)
		go func() { thread.Done() }()
		thread.Wait()
	}
}

func pingPong() {
	var mutex sync.Mutex
	changed := sync.NewCond(&mutex)
	ours := true
	play := func(turn bool) {
		for i := 0; i < handovers/2; i++ {
			mutex.Lock()
			for ours != turn {
				changed.Wait()
			}
			ours = !turn
			changed.Signal()
			mutex.Unlock()
		}
	}
	var other sync.WaitGroup
	other.Add(1)
	go func() { play(false); other.Done() }()
	play(true)
	other.Wait()
}

func main() {
	cores := 0
	if len(os.Args) > 1 {
		cores, _ = strconv.Atoi(os.Args[1])
	}
	if cores < 1 {
		fmt.Fprintf(os.Stderr, "usage: %s CORES [WORKLOAD...]\n", os.Args[0])
		os.Exit(2)
	}
	runtime.GOMAXPROCS(cores)
	wanted := func(name string) bool {
		if len(os.Args) == 2 {
			return true
		}
		for _, arg := range os.Args[2:] {
			if arg == name {
				return true
			}
		}
		return false
	}
	if wanted("yield") {
		report("yield", yields, yieldPair)
	}
	if wanted("spawn") {
		report("spawn", spawns, spawnJoin)
	}
	if wanted("mutex") {
		var mutex sync.Mutex
		report("mutex", locks, func() {
			for i := 0; i < locks; i++ {
				mutex.Lock()
				mutex.Unlock()
			}
		})
	}
	if wanted("condvar") {
		report("condvar", handovers, pingPong)
	}
	if wanted("forkjoin") {
		report("forkjoin", trees<<depth, func() {
			for i := 0; i < trees; i++ {
				tree(depth)
			}
		})
	}
}
