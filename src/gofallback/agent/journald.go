package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"sort"
	"strings"
)

const journalSocket = "/run/systemd/journal/socket"

// sendToJournald sends an entry in journald's native protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
func sendToJournald(socket string, fields map[string]string) error {
	connection, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = connection.Write(encodeJournald(fields))
	return err
}

func encodeJournald(fields map[string]string) []byte {
	keys := make([]string, 0, len(fields))
	for key := range fields {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	var message bytes.Buffer
	for _, key := range keys {
		value := fields[key]
		if len(value) > 16<<10 { // far below the size limit of a datagram
			value = value[:16<<10]
		}
		if !strings.Contains(value, "\n") {
			fmt.Fprintf(&message, "%s=%s\n", key, value)
			continue
		}
		message.WriteString(key + "\n")
		_ = binary.Write(&message, binary.LittleEndian, uint64(len(value)))
		message.WriteString(value + "\n")
	}
	return message.Bytes()
}
