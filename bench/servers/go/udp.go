// udp.go - the peer in Go: goroutines that share one UDP socket.
//
//	bench_server_go_udp PORT THREADS
package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"time"
)

const messageBytes = 32

func serve(conn *net.UDPConn) {
	message := make([]byte, 64)
	for {
		size, peer, err := conn.ReadFromUDPAddrPort(message)
		if err != nil || size != messageBytes {
			continue
		}
		end := time.Now().Add(time.Duration(binary.LittleEndian.Uint64(message[8:16])))
		for time.Now().Before(end) {
		}
		conn.WriteToUDPAddrPort(message[:size], peer)
	}
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintf(os.Stderr, "usage: %s PORT THREADS\n", os.Args[0])
		os.Exit(2)
	}
	port, _ := strconv.Atoi(os.Args[1])
	threads, _ := strconv.Atoi(os.Args[2])
	runtime.GOMAXPROCS(threads)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	conn.SetReadBuffer(4 << 20)
	fmt.Println("ready")
	// More goroutines than threads: one that burns must not leave a thread idle.
	for i := 1; i < 4*threads; i++ {
		go serve(conn)
	}
	serve(conn)
}
