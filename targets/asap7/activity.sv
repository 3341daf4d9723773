// SPDX-License-Identifier: Apache-2.0
//
// Records how often each net of a simulation switches.
module hsflow_activity;
  initial begin
    $dumpfile("activity.saif");
    $dumpvars;
  end
endmodule

bind hsflow_tb hsflow_activity u_activity ();
