// SPDX-License-Identifier: Apache-2.0
//
// hsflow_tb_sink: takes the words of a stream, logs every transfer, checks the stream's rules.
//
// Reads <Name>.allow (Pattern binary digits) from the current folder; `ready_o` follows the digits, which
// repeat. `done_o` is high once Words words were taken.
// Log lines: "offer <Name> <cycle>" when a word is first shown, "sink <Name> <first cycle shown>
// <cycle taken> <word>" when it is taken and, when valid falls or the payload changes before that,
// "violation <Name> <cycle>".
module hsflow_tb_sink #(
  parameter     Name    = "sink",
  parameter int Width   = 8,
  parameter int Words   = 1,
  parameter int Pattern = 1
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  int               cycle_i,
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  output logic             done_o
);

  logic [0:0]       allow [0:Pattern-1];
  logic             waiting_q;
  logic [Width-1:0] data_q;
  int taken_q, shown_q, shown;

  initial $readmemb({Name, ".allow"}, allow);

  assign shown  = waiting_q ? shown_q : cycle_i;
  assign done_o = (taken_q >= Words);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      ready_o   <= 1'b0;
      waiting_q <= 1'b0;
      data_q    <= '0;
      taken_q   <= 0;
      shown_q   <= 0;
    end else begin
      ready_o   <= allow[cycle_i % Pattern];
      waiting_q <= valid_i && !ready_o;
      data_q    <= data_i;
      shown_q   <= shown;
      if (valid_i && ready_o) taken_q <= taken_q + 1;
    end
  end

  always @(posedge clk_i) begin
    if (rst_ni) begin
      if (valid_i && !waiting_q) $display("offer %0s %0d", Name, cycle_i);
      if (valid_i && ready_o) begin
        $display("sink %0s %0d %0d %h", Name, shown, cycle_i, data_i);
      end
      if (waiting_q && (valid_i !== 1'b1 || data_i !== data_q)) begin
        $display("violation %0s %0d", Name, cycle_i);
      end
      if (valid_i !== 1'b0 && valid_i !== 1'b1) $display("violation %0s %0d", Name, cycle_i);
    end
  end

endmodule
